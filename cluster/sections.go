package cluster

import (
	"fmt"

	"github.com/tidwall/btree"
)

// endOfSections is the number that no section has.
const endOfSections = 0

// section is one primary table in a snapshot.
type section struct {
	id    byte
	count func(*tables) int
	each  func(*tables, func(record any) bool)
	read  func(*State, []byte) error // one encoded record
	put   func(s *State, record any) // one record that each gave
}

// optional tells whether a snapshot leaves the section out when it has no records.
func (s *section) optional() bool { return s.id > lastFirstSection }

// The sections, in their order in a snapshot, which is that of their numbers. The numbers are never reused.
var sections = [...]section{
	single(1, func(t *tables) *meta { return &t.meta }, func(s *State, m *meta) { s.t.meta = *m }),
	single(2, func(t *tables) *Authority { return t.authority }, func(s *State, a *Authority) { s.t.authority = a }),
	table(3, func(t *tables) *btree.Map[NodeID, *Node] { return &t.nodes }, (*State).putNode),
	table(4, func(t *tables) *btree.Map[NodeID, removal] { return &t.removed },
		func(s *State, r removal) { s.t.removed.Set(r.Node, r) }),
	table(5, func(t *tables) *btree.Map[TokenID, *JoinToken] { return &t.joinTokens },
		func(s *State, j *JoinToken) { s.t.joinTokens.Set(j.ID, j) }),
	table(6, func(t *tables) *btree.Map[ProjectID, *Project] { return &t.projects }, (*State).putProject),
	table(7, func(t *tables) *btree.Map[UserID, *User] { return &t.users }, (*State).putUser),
	table(8, func(t *tables) *btree.Map[RoleID, *Role] { return &t.roles }, (*State).putRole),
	table(9, func(t *tables) *btree.Map[string, Assignment] { return &t.assignments }, (*State).putAssignment),
	table(10, func(t *tables) *btree.Map[CredentialID, *Credential] { return &t.credentials }, (*State).putCredential),
	table(11, func(t *tables) *btree.Map[TokenID, *Revocation] { return &t.revocations }, (*State).putRevocation),
	table(12, func(t *tables) *btree.Map[ImageID, *Image] { return &t.images }, (*State).putImage),
	table(13, func(t *tables) *btree.Map[FlavorID, *Flavor] { return &t.flavors }, (*State).putFlavor),
	table(14, func(t *tables) *btree.Map[string, *KeyPair] { return &t.keyPairs }, (*State).putKeyPair),
	table(15, func(t *tables) *btree.Map[ProjectID, *Quota] { return &t.quotas },
		func(s *State, q *Quota) { s.t.quotas.Set(q.Project, q) }),
	table(16, func(t *tables) *btree.Map[NetworkID, *Network] { return &t.networks }, (*State).putNetwork),
	table(17, func(t *tables) *btree.Map[SubnetID, *Subnet] { return &t.subnets }, (*State).putSubnet),
	table(18, func(t *tables) *btree.Map[PortID, *Port] { return &t.ports }, (*State).putPort),
	table(19, func(t *tables) *btree.Map[InstanceID, *Instance] { return &t.instances }, (*State).putInstance),
	table(20, func(t *tables) *btree.Map[string, *Instance] { return &t.deleted }, (*State).putDeleted),
	table(21, func(t *tables) *btree.Map[string, *Tombstone] { return &t.tombstones }, (*State).putTombstone),
	table(22, func(t *tables) *btree.Map[string, *Action] { return &t.actions }, (*State).putAction),
	table(23, func(t *tables) *btree.Map[RequestID, *outcome] { return &t.requests }, (*State).putRequest),
	table(24, func(t *tables) *btree.Map[string, *Migration] { return &t.migrations }, (*State).putMigration),
	table(30, func(t *tables) *btree.Map[GroupID, *ServerGroup] { return &t.groups }, (*State).putGroup),
	table(31, func(t *tables) *btree.Map[string, *Aggregate] { return &t.aggregates }, (*State).putAggregate),
	table(32, func(t *tables) *btree.Map[string, *Quota] { return &t.userQuotas }, (*State).putUserQuota),
	table(33, func(t *tables) *btree.Map[string, *QuotaClass] { return &t.quotaClasses },
		func(s *State, q *QuotaClass) { s.t.quotaClasses.Set(q.Name, q) }),
	table(35, func(t *tables) *btree.Map[VolumeID, *Volume] { return &t.volumes }, (*State).putVolume),
	table(36, func(t *tables) *btree.Map[SnapshotID, *VolumeSnapshot] { return &t.snapshots }, (*State).putSnapshot),
	table(37, func(t *tables) *btree.Map[string, *VolumeType] { return &t.volumeTypes }, (*State).putVolumeType),
	table(40, func(t *tables) *btree.Map[string, *ConsoleToken] { return &t.consoleTokens }, (*State).putConsoleToken),
	single(50, func(t *tables) *Settings { return t.settings }, func(s *State, x *Settings) { s.t.settings = x }),
	table(51, func(t *tables) *btree.Map[Keyset, *Rotation] { return &t.rotations }, (*State).putRotation),
}

// single makes the section of something that is there at most once.
func single[T any](id byte, get func(*tables) *T, put func(*State, *T)) section {
	return section{
		id: id,
		count: func(t *tables) int {
			if get(t) == nil {
				return 0
			}
			return 1
		},
		each: func(t *tables, yield func(any) bool) {
			if x := get(t); x != nil {
				yield(x)
			}
		},
		read: func(s *State, b []byte) error {
			x := new(T)
			if err := decodeRecord(b, x); err != nil {
				return err
			}
			put(s, x)
			return nil
		},
		put: func(s *State, x any) { put(s, x.(*T)) },
	}
}

// table makes the section of a table whose records know their own keys.
func table[K interface{ ~string }, V any](id byte, get func(*tables) *btree.Map[K, V], put func(*State, V)) section {
	return section{
		id:    id,
		count: func(t *tables) int { return get(t).Len() },
		each: func(t *tables, yield func(any) bool) {
			get(t).Scan(func(_ K, x V) bool { return yield(x) })
		},
		read: func(s *State, b []byte) error {
			var x V
			if err := decodeRecord(b, &x); err != nil {
				return err
			}
			put(s, x)
			return nil
		},
		put: func(s *State, x any) { put(s, x.(V)) },
	}
}

// decodeRecord decodes a record, which is always a map.
func decodeRecord(b []byte, to any) error {
	if !isMap(b) {
		return fmt.Errorf("%w: a record that is not a map", ErrCorrupt)
	}
	return decode(b, to)
}
