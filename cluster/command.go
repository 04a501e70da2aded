package cluster

// Command is one change. The proposer fills in everything: Apply has no clock and no randomness to draw on.
type Command struct {
	// ID names the attempt. A command whose ID was applied before changes nothing and has the first
	// one's result. Empty: not remembered.
	ID RequestID

	// Digest tells different requests under the same ID apart: a reused ID with another Digest is refused.
	// Zero: not compared.
	Digest Hash

	// Time is the proposer's clock. State uses it for time stamps and for expiring what it remembers, and
	// never lets it run backwards.
	Time Time

	Op Op
}

// Op is what a command does. Each kind has its own type in the op_*.go files and one case in State.Apply.
type Op interface {
	// Kind gives the number that stands for the type on the wire and on disk. Numbers are never reused.
	Kind() Kind
}

// Kind numbers a type of Op.
type Kind uint16

// The kinds of the first command set. Append none: the numbers that follow are in blocks, below.
const (
	KindInitCluster Kind = iota + 1
	KindPutAuthority
	KindPutJoinToken
	KindDeleteJoinToken
	KindEnrolNode
	KindUpdateNode
	KindSetNodeService
	KindRemoveNode
	KindPutProject
	KindDeleteProject
	KindPutUser
	KindDeleteUser
	KindPutRole
	KindDeleteRole
	KindPutAssignment
	KindDeleteAssignment
	KindPutCredential
	KindDeleteCredential
	KindRevokeToken
	KindPutImage
	KindDeleteImage
	KindAddImageNode
	KindPutFlavor
	KindDeleteFlavor
	KindCreateKeyPair
	KindDeleteKeyPair
	KindPutNetwork
	KindDeleteNetwork
	KindPutSubnet
	KindDeleteSubnet
	KindPutPort
	KindDeletePort
	KindPutQuota
	KindDeleteQuota
	KindCreateInstances
	KindPlaceInstance
	KindUpdateInstance
	KindSetPower
	KindDeleteInstance
	KindReportInstances
	KindForgetInstance
)

// The kinds of later sets have their numbers written out, a block for each part of the state, so that the parts grow
// side by side. Append to a block only.
const (
	// Operations of instances: 50 to 79.
	KindRebuildInstance  Kind = 50
	KindRescueInstance   Kind = 51
	KindBeginMove        Kind = 52
	KindPlaceMove        Kind = 53
	KindEndMove          Kind = 54
	KindSignalMove       Kind = 55
	KindBeginCapture     Kind = 56
	KindAdvanceOperation Kind = 57
	KindUnshelveInstance Kind = 58
	KindRestoreInstance  Kind = 59
	KindResetInstance    Kind = 60
	KindAttachPort       Kind = 61
	KindDetachPort       Kind = 62
	KindStopAwaiting     Kind = 63

	// Server groups and aggregates: 80 to 99.
	KindCreateServerGroup Kind = 80
	KindDeleteServerGroup Kind = 81
	KindPutAggregate      Kind = 82
	KindDeleteAggregate   Kind = 83
	KindPutQuotaClass     Kind = 84

	// Volumes: 100 to 129.
	KindCreateVolume         Kind = 100
	KindUpdateVolume         Kind = 101
	KindDeleteVolume         Kind = 102
	KindExtendVolume         Kind = 103
	KindAttachVolume         Kind = 104
	KindDetachVolume         Kind = 105
	KindUpdateAttachment     Kind = 106
	KindUploadVolume         Kind = 107
	KindCreateVolumeSnapshot Kind = 108
	KindUpdateVolumeSnapshot Kind = 109
	KindDeleteVolumeSnapshot Kind = 110
	KindReportVolumes        Kind = 111
	KindCaptureVolumes       Kind = 112
	KindTendVolumes          Kind = 113
	KindPutVolumeType        Kind = 114
	KindDeleteVolumeType     Kind = 115

	// Consoles: 130 to 139.
	KindAddConsoleToken Kind = 130
	KindUseConsoleToken Kind = 131
	KindRecordAction    Kind = 132

	// Networks: 140 to 159.

	// Identity and the cluster itself: 160 to 169.
	KindBeginTerm   Kind = 160
	KindLoseNode    Kind = 161
	KindReturnNode  Kind = 162
	KindPutSettings Kind = 163

	KindGuardInstances Kind = 164

	// Replicas of disks: 170 to 179.
	KindPlaceReplica  Kind = 170
	KindReportReplica Kind = 171

	// Keys of the whole cluster, and where its nodes are: 190 to 199.
	KindBeginRotation   Kind = 190
	KindConfirmKeys     Kind = 191
	KindAdvanceRotation Kind = 192
	KindRelocateNode    Kind = 193

	// Backups and recovery: 180 to 189.
	KindRestoreCluster Kind = 180
	KindConfirmRestore Kind = 181
	KindRecoverCluster Kind = 182

	// Replicas that leave their nodes: 210 to 229.
	KindRetireReplica Kind = 210
)

// CommandVersion is the newest version of the command set that this build knows. Nodes say theirs in their
// Node record; a kind is used only when every node knows it. Raise it whenever a Kind or a field with meaning
// is added.
const CommandVersion uint32 = 6

// Result is what applying a command gave.
type Result struct {
	Index uint64   `json:"index"`         // the log index that it was applied at
	Err   *Error   `json:"err,omitempty"` // the refusal; nil: done
	IDs   []string `json:"ids,omitempty"` // what it made or changed, in the order of the command
}
