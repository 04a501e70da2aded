package cluster

// QuotaName names a limit, in the words of the OpenStack service that shows it.
type QuotaName string

// The limits. Those of the compute service come first.
const (
	QuotaInstances          QuotaName = "instances"
	QuotaCores              QuotaName = "cores"
	QuotaRAM                QuotaName = "ram" // MiB
	QuotaMetadataItems      QuotaName = "metadata_items"
	QuotaKeyPairs           QuotaName = "key_pairs"
	QuotaServerGroups       QuotaName = "server_groups"
	QuotaServerGroupMembers QuotaName = "server_group_members"

	// These are kept for the compute service, which shows them in old versions of its API, and limit nothing.
	QuotaFixedIPs           QuotaName = "fixed_ips"
	QuotaFloatingIPs        QuotaName = "floating_ips"
	QuotaFileContent        QuotaName = "injected_file_content_bytes"
	QuotaFilePath           QuotaName = "injected_file_path_bytes"
	QuotaFiles              QuotaName = "injected_files"
	QuotaSecurityGroupRules QuotaName = "security_group_rules"
	QuotaSecurityGroups     QuotaName = "security_groups"

	QuotaNetworks  QuotaName = "network"
	QuotaSubnets   QuotaName = "subnet"
	QuotaPorts     QuotaName = "port"
	QuotaVolumes   QuotaName = "volumes"
	QuotaSnapshots QuotaName = "snapshots" // of volumes
	QuotaGigabytes QuotaName = "gigabytes" // GiB of volumes and their snapshots together
)

// Unlimited is the value of a limit that does not limit.
const Unlimited = -1

// DefaultQuota is what a project may use when nobody set anything else: Nova's, Neutron's and Cinder's defaults.
var DefaultQuota = map[QuotaName]int64{
	QuotaInstances:          10,
	QuotaCores:              20,
	QuotaRAM:                50 * 1024,
	QuotaMetadataItems:      128,
	QuotaKeyPairs:           100,
	QuotaServerGroups:       10,
	QuotaServerGroupMembers: 10,
	QuotaFixedIPs:           Unlimited,
	QuotaFloatingIPs:        Unlimited,
	QuotaFileContent:        10240,
	QuotaFilePath:           255,
	QuotaFiles:              5,
	QuotaSecurityGroupRules: Unlimited,
	QuotaSecurityGroups:     Unlimited,
	QuotaNetworks:           100,
	QuotaSubnets:            100,
	QuotaPorts:              500,
	QuotaVolumes:            10,
	QuotaSnapshots:          10,
	QuotaGigabytes:          1000,
}

// Quota is what an administrator set for a project, or for one user in it; a name that is absent has its default.
type Quota struct {
	Project  ProjectID           `json:"project"`
	User     UserID              `json:"user,omitempty"` // "": the project's own
	Revision uint64              `json:"revision"`
	Limits   map[QuotaName]int64 `json:"limits"`
}

// Usage is what a project uses of its quota. An instance counts until it is gone.
type Usage struct {
	Instances int64 `json:"instances"`
	Resources
	Networks int64 `json:"networks"`
	Subnets  int64 `json:"subnets"`
	Ports    int64 `json:"ports"`
	Images   int64 `json:"images"` // not limited; a project that owns images is not deleted

	Volumes   int64 `json:"volumes,omitempty"`
	Snapshots int64 `json:"snapshots,omitempty"` // of volumes
	GiB       int64 `json:"gib,omitempty"`       // of volumes and their snapshots
}
