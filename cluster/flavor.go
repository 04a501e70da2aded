package cluster

import (
	"maps"
	"slices"
)

// Flavor is a size of instances.
type Flavor struct {
	ID          FlavorID          `json:"id"`
	Revision    uint64            `json:"revision"`
	Name        string            `json:"name"` // unique
	Description string            `json:"description,omitempty"`
	VCPUs       int64             `json:"vcpus"`
	MemoryMiB   int64             `json:"memory_mib"`
	DiskGiB     int64             `json:"disk_gib"` // root disk; 0: as large as the image
	Ephemeral   int64             `json:"ephemeral_gib,omitempty"`
	SwapMiB     int64             `json:"swap_mib,omitempty"`
	RxTxFactor  float64           `json:"rxtx_factor,omitempty"`
	Private     bool              `json:"private,omitempty"` // only for the projects of Access
	Disabled    bool              `json:"disabled,omitempty"`
	Access      []ProjectID       `json:"access,omitempty"`
	ExtraSpecs  map[string]string `json:"extra_specs,omitempty"`
	Created     Time              `json:"created"`
}

// Resources is what an instance of this flavor takes from its node.
func (f *Flavor) Resources() Resources {
	return Resources{VCPUs: f.VCPUs, MemoryMiB: f.MemoryMiB, DiskGiB: f.DiskGiB + f.Ephemeral + (f.SwapMiB+1023)/1024}
}

// Clone returns a copy that may be changed.
func (f *Flavor) Clone() *Flavor {
	c := *f
	c.Access = slices.Clone(f.Access)
	c.ExtraSpecs = maps.Clone(f.ExtraSpecs)
	return &c
}

// KeyPair is a user's public key: one for SSH, or a certificate.
type KeyPair struct {
	User        UserID `json:"user"`
	Name        string `json:"name"` // unique for its user
	Type        string `json:"type"` // ssh or x509
	PublicKey   string `json:"public_key"`
	Fingerprint string `json:"fingerprint"`
	Number      int64  `json:"number"` // small integer for APIs that show one
	Created     Time   `json:"created"`
}
