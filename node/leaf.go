package node

import (
	"crypto/tls"
	"sync"
	"time"
)

// leafCheck is how often the API's certificate is looked at on disk.
const leafCheck = time.Minute

// cachedLeaf is the API's certificate as it was read last.
type cachedLeaf struct {
	mu   sync.Mutex
	leaf tls.Certificate
	read time.Time
}

// forget has the certificate read again by the next who needs it.
func (c *cachedLeaf) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.read = time.Time{}
}

// get reads the certificate again now and then. When that fails, the old one serves on.
func (c *cachedLeaf) get(d *dataDir) (tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.read) < leafCheck {
		return c.leaf, nil
	}
	leaf, err := d.leaf(apiPEM)
	if err == nil {
		c.leaf, c.read = leaf, time.Now()
	} else if c.leaf.Certificate != nil {
		err = nil
	}
	return c.leaf, err
}
