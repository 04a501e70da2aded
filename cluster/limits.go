package cluster

import "time"

// Bounds of what the state keeps and of what one command may hold. They are part of the replicated behaviour:
// changing one needs a new CommandVersion.
const (
	maxName        = 255 // characters of a name, as in Nova, Neutron and Keystone
	maxText        = 255 // characters of other short texts
	maxLongText    = 64 << 10
	maxID          = 64   // bytes of an ID other than a flavor's
	maxTags        = 50   // as in Nova
	maxTagLength   = 60   // as in Nova and Neutron
	maxProperties  = 256  // entries of properties and extra specs
	maxPropertyLen = 4096 // characters of a property's value
	maxUserData    = 64 << 10

	maxNewInstances     = 1000 // instances of one create
	maxPortsPerInstance = 64
	maxReports          = 10_000 // instances in one report
	maxActions          = 200    // kept for each instance, the newest
	maxReasons          = 64     // lines of an explanation
	maxEvents           = 16     // events of an action

	maxMigrations = 10_000 // records of moves kept, the newest
	maxFixedIPs   = 16
	maxPools      = 64
	maxDNS        = 16
	maxRoutes     = 64
	maxMTU        = 65535
	maxBridges    = 64
	maxListed     = 1024 // traits, quarantined domains, roles, project members
	maxAmount     = 1<<31 - 1
	maxRatio      = 1_000_000 // thousandths
	maxLimits     = 64
	maxJoinUses   = 100_000
	maxSigningKey = 16
)

// How long things are remembered.
const (
	// RequestMemory is how long the result of a request is remembered under its ID, at least while fewer
	// than MaxRequests are remembered.
	RequestMemory = 15 * time.Minute

	// MaxRequests is how many requests are remembered; the oldest go first.
	MaxRequests = 65_536

	// DeletedMemory and MaxDeleted bound the records of instances that are gone.
	DeletedMemory = 30 * 24 * time.Hour
	MaxDeleted    = 5000

	// tokenMemory is how long an expired join token is kept, so that a node that repeats its enrolment is
	// told what is wrong.
	tokenMemory = 24 * time.Hour
)
