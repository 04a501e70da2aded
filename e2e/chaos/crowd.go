package chaos

import (
	"math/rand/v2"
	"slices"
	"sync"
)

// subject is a server that clients know of.
type subject struct {
	key, id string
	volume  thing // one that was attached; zero: none
}

// crowd is what clients know of: servers and volumes that were made and whose deletion nobody asked for. It is safe for concurrent use.
type crowd struct {
	mu      sync.Mutex
	servers []*subject
	volumes []thing
}

func (c *crowd) add(s *subject) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.servers = append(c.servers, s)
}

func (c *crowd) size() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.servers)
}

// any gives one of the servers; nil: there is none.
func (c *crowd) any(dice *rand.Rand) *subject {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.servers) == 0 {
		return nil
	}
	return c.servers[dice.IntN(len(c.servers))]
}

// leave takes one of the servers out, which is about to be deleted; nil: there is none, or another client was faster.
func (c *crowd) leave(dice *rand.Rand) *subject {
	s := c.any(dice)
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.Index(c.servers, s)
	if i < 0 {
		return nil
	}
	c.servers = slices.Delete(c.servers, i, i+1)
	return s
}

func (c *crowd) addVolume(v thing) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.volumes = append(c.volumes, v)
}

// takeVolume takes one of the volumes out; false: there is none.
func (c *crowd) takeVolume(dice *rand.Rand) (thing, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.volumes) == 0 {
		return thing{}, false
	}
	i := dice.IntN(len(c.volumes))
	v := c.volumes[i]
	c.volumes = slices.Delete(c.volumes, i, i+1)
	return v, true
}

// attach notes which volume a server has, unless it has one.
func (c *crowd) attach(s *subject, v thing) (ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.volume.ID != "" {
		return false
	}
	s.volume = v
	return true
}

// detach notes that a server has no volume any more, and gives the one that it had; false: it had none.
func (c *crowd) detach(s *subject) (v thing, had bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, s.volume = s.volume, thing{}
	return v, v.ID != ""
}
