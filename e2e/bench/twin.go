package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/google/uuid"

	"github.com/kilonova/kilonova/e2e/cloud"
	"github.com/kilonova/kilonova/e2e/guest"
)

// twin is a domain like that of a server, with disks of its own, that the cluster has nothing to do with: what is done to it, is done by
// hand.
type twin struct {
	id   string // its UUID
	name string
	node *cloud.Node // where it is
	xml  string      // its definition, a file on its host
	disk overlay
}

// overlay is a disk that lies on an image.
type overlay struct {
	path, base, baseFormat string
	bytes                  int64
}

var (
	metadataElement = regexp.MustCompile(`(?s)<metadata>.*?</metadata>`)
	macAttribute    = regexp.MustCompile(`(<mac address=')[0-9a-f:]{8}`)
	tapName         = regexp.MustCompile(`(<target dev='tap)[0-9a-f-]{11}`)
)

// newTwin copies the domain of a server, with an empty disk on the same image.
func newTwin(ctx context.Context, n *cloud.Node, x *hands, server string) (*twin, error) {
	text, err := n.Host.Run(ctx, "virsh", "dumpxml", "--inactive", "--security-info", server)
	if err != nil {
		return nil, err
	}
	t := &twin{id: uuid.NewString(), node: n}
	text = twinXML(text, server, t.id)
	if t.name, err = nameOf(text); err != nil {
		return nil, err
	}
	dir := t.dir()
	t.xml = filepath.Join(dir, "twin.xml")
	of := filepath.Join(filepath.Dir(dir), server)
	if _, err := n.Host.Run(ctx, "sh", "-ec", fmt.Sprintf("mkdir %s; cp %s/disk.config %s", dir, of, dir)); err != nil {
		return nil, err
	}
	if err := t.write(t.xml, []byte(text)); err != nil {
		return nil, err
	}
	if t.disk, err = findOverlay(ctx, n, filepath.Join(of, "disks-*", "root")); err != nil {
		return nil, err
	}
	t.disk.path = strings.ReplaceAll(t.disk.path, server, t.id)
	if err := t.renewDisk(ctx, n); err != nil {
		return nil, err
	}
	_, _, err = x.do(ctx, "define", t.xml)
	return t, err
}

// findOverlay looks at the one disk on a host whose name matches.
func findOverlay(ctx context.Context, n *cloud.Node, pattern string) (o overlay, err error) {
	said, err := n.Host.Run(ctx, "sh", "-c", "qemu-img info -U -f qcow2 --output=json "+pattern)
	if err != nil {
		return o, err
	}
	var info struct {
		Path       string `json:"filename"`
		Base       string `json:"full-backing-filename"`
		BaseFormat string `json:"backing-filename-format"`
		Bytes      int64  `json:"virtual-size"`
	}
	if err := json.Unmarshal([]byte(said), &info); err != nil {
		return o, fmt.Errorf("look at disk %s of %s: %w", pattern, n.Name(), err)
	}
	return overlay{info.Path, info.Base, info.BaseFormat, info.Bytes}, nil
}

// renewDisk gives the twin an empty disk on its image, on a host.
func (t *twin) renewDisk(ctx context.Context, n *cloud.Node) error {
	_, err := n.Host.Run(ctx, "sh", "-ec", fmt.Sprintf("mkdir -p %s; rm -f %s; qemu-img create -q -f qcow2 -b %s -F %s %s %d",
		filepath.Dir(t.disk.path), t.disk.path, t.disk.base, t.disk.baseFormat, t.disk.path, t.disk.bytes))
	return err
}

// remove removes one of the twin's files.
func (t *twin) remove(name string) error {
	outside, err := t.node.Host.Path(filepath.Join(t.dir(), name))
	if err != nil {
		return err
	}
	return os.Remove(outside)
}

// twinXML turns the definition of one domain into that of another, which bears no stamp of the cluster's.
func twinXML(text, id, other string) string {
	text = metadataElement.ReplaceAllString(text, "")
	text = strings.ReplaceAll(text, id, other)
	text = strings.ReplaceAll(text, serialOf(id), serialOf(other))
	text = tapName.ReplaceAllString(text, "${1}"+other[:11])
	return macAttribute.ReplaceAllString(text, "${1}fa:16:3f")
}

// serialOf is the serial number that a server's first disk bears.
func serialOf(id string) string { return strings.ReplaceAll(id, "-", "")[:20] }

var nameElement = regexp.MustCompile(`<name>([^<]+)</name>`)

func nameOf(xml string) (string, error) {
	found := nameElement.FindStringSubmatch(xml)
	if found == nil {
		return "", errors.New("a domain's definition has no name")
	}
	return found[1], nil
}

// dir is where the twin's files are, on its host.
func (t *twin) dir() string { return filepath.Join(t.node.Host.DataDir(), "instances", t.id) }

// write writes a file on the twin's host.
func (t *twin) write(path string, content []byte) error {
	outside, err := t.node.Host.Path(path)
	if err != nil {
		return err
	}
	return os.WriteFile(outside, content, 0o600)
}

// heard reads what a guest wrote to its console, on its host.
func heard(n *cloud.Node, id string) (guest.Console, error) {
	path, err := n.Host.Path(filepath.Join(n.Host.DataDir(), "instances", id, "console.log"))
	if err != nil {
		return guest.Console{}, err
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return guest.Console{}, nil
	}
	return guest.ReadConsole(string(text)), err
}

// awaitBoot waits until a guest has greeted after another boot than one that is known, and counts.
func awaitBoot(ctx context.Context, n *cloud.Node, id, known string) (boot string, err error) {
	ctx, cancel := context.WithTimeout(ctx, bootTimeout)
	defer cancel()
	for {
		c, err := heard(n, id)
		if err != nil {
			return "", err
		}
		if c.Ready && c.Last().ID != known && c.ID == c.Last().ID {
			return c.ID, nil
		}
		if err := sleep(ctx, statePoll); err != nil {
			return "", fmt.Errorf("wait until guest %s has booted: %w", id, err)
		}
	}
}
