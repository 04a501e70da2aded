package cluster

import "time"

// Diagnostics is what a running instance uses, as its node counts it.
type Diagnostics struct {
	State         string            `json:"state"` // running, paused, ...
	Uptime        time.Duration     `json:"uptime"`
	CPUs          []time.Duration   `json:"cpus,omitempty"` // processor time of each
	MemoryMaxMiB  int64             `json:"memory_max_mib"`
	MemoryUsedMiB int64             `json:"memory_used_mib"`
	Disks         []DiskDiagnostics `json:"disks,omitempty"`
	NICs          []NICDiagnostics  `json:"nics,omitempty"`
}

// DiskDiagnostics counts what a disk did since the instance was started.
type DiskDiagnostics struct {
	ID            string `json:"id"` // of a volume, or "root", "swap", ...
	ReadBytes     int64  `json:"read_bytes"`
	ReadRequests  int64  `json:"read_requests"`
	WriteBytes    int64  `json:"write_bytes"`
	WriteRequests int64  `json:"write_requests"`
	Errors        int64  `json:"errors"` // below zero: not counted
}

// NICDiagnostics counts what a network card did since the instance was started, as the guest sees it.
type NICDiagnostics struct {
	MAC       string `json:"mac"`
	RxOctets  int64  `json:"rx_octets"`
	RxPackets int64  `json:"rx_packets"`
	RxErrors  int64  `json:"rx_errors"`
	RxDrops   int64  `json:"rx_drops"`
	TxOctets  int64  `json:"tx_octets"`
	TxPackets int64  `json:"tx_packets"`
	TxErrors  int64  `json:"tx_errors"`
	TxDrops   int64  `json:"tx_drops"`
}
