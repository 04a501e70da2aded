package configdrive

// Meta is what a guest may know about itself. Every value is final: nothing is looked up or made up here, so
// that rendering twice gives the same drive.
type Meta struct {
	UUID             string
	Name             string // display name, free text
	Hostname         string
	AvailabilityZone string
	ProjectID        string
	LaunchIndex      int
	FlavorName       string            // EC2's instance-type
	Metadata         map[string]string // what the user attached to the server
	Keys             []Key
	AdminPass        string
	RandomSeed       []byte // entropy for the guest; nil: none is given
	UserData         []byte // decoded; nil: no user_data file
	Personality      []File // files to write into the guest, in order
	NICs             []NIC  // in the order that the guest sees them
}

// Key is an SSH or X.509 public key.
type Key struct {
	Name string
	Type string // "ssh" or "x509"
	Data string
}

// File is a file that the guest writes to its own disk.
type File struct {
	Path    string // in the guest
	Content []byte
}

// NIC describes one network card to the guest.
type NIC struct {
	PortID    string
	NetworkID string
	MAC       string
	MTU       int // bytes; 0: not told
	Addresses []Address
}

// Address is a fixed address with the settings of its subnet.
type Address struct {
	Prefix  string // e.g. 192.0.2.7/24 or 2001:db8::7/64
	Gateway string // "": no default route
	DNS     []string
	Routes  []Route
}

// Route leads to a network through a gateway.
type Route struct {
	Destination string // e.g. 198.51.100.0/24
	NextHop     string
}
