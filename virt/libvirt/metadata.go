package libvirt

import (
	"encoding/xml"
	"fmt"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
)

// metadataNamespace names our element in a domain's metadata. It is on the disks of hosts: it never changes.
const metadataNamespace = "https://github.com/kilonova/kilonova/domain/1"

// metadata is the element that a domain carries. The stamp is what the driver reads back; the rest is for
// people who look at the host with virsh.
type metadata struct {
	XMLName   xml.Name      `xml:"kilonova:instance"`
	Namespace string        `xml:"xmlns:kilonova,attr"`
	Stamp     metadataStamp `xml:"kilonova:stamp"`
	Name      string        `xml:"kilonova:name"`
	Flavor    string        `xml:"kilonova:flavor,omitempty"`
	Project   *metadataWho  `xml:"kilonova:project"`
	User      *metadataWho  `xml:"kilonova:user"`
}

type metadataStamp struct {
	Cluster    string             `xml:"cluster,attr"`
	Instance   cluster.InstanceID `xml:"instance,attr"`
	Generation uint64             `xml:"generation,attr"`
	Epoch      uint64             `xml:"epoch,attr"`
}

type metadataWho struct {
	ID   string `xml:"id,attr"`
	Name string `xml:",chardata"`
}

// encodeMetadata renders the element. Characters that XML cannot hold (such as NUL) become U+FFFD.
func encodeMetadata(g virt.Guest) (string, error) {
	m := metadata{
		Namespace: metadataNamespace,
		Stamp: metadataStamp{
			Cluster: g.Stamp.Cluster, Instance: g.Stamp.Instance,
			Generation: g.Stamp.Generation, Epoch: g.Stamp.Epoch,
		},
		Name: g.Name, Flavor: g.Owner.FlavorName,
	}
	if o := g.Owner; o.ProjectID != "" {
		m.Project = &metadataWho{ID: o.ProjectID, Name: o.ProjectName}
	}
	if o := g.Owner; o.UserID != "" {
		m.User = &metadataWho{ID: o.UserID, Name: o.UserName}
	}
	b, err := xml.Marshal(m)
	if err != nil {
		return "", fmt.Errorf("encode metadata: %w", err)
	}
	return string(b), nil
}

// decodeStamp reads the stamp of the domain id. A domain whose stamp names another instance is a copy that
// somebody made of one of ours, and has no stamp. Nonsense is no stamp either: the domain is then unknown, and
// unknown domains are left alone.
func decodeStamp(element string, id cluster.InstanceID) virt.Stamp {
	var m struct {
		Stamp metadataStamp `xml:"stamp"` // libvirt drops the prefix of the namespace
	}
	if err := xml.Unmarshal([]byte(element), &m); err != nil || m.Stamp.Instance != id {
		return virt.Stamp{}
	}
	return m.Stamp.plain()
}

func (m metadataStamp) plain() virt.Stamp {
	return virt.Stamp{Cluster: m.Cluster, Instance: m.Instance, Generation: m.Generation, Epoch: m.Epoch}
}

// restamp gives the element anew, with another stamp. The names of its parts have no prefix: libvirt gives the
// outermost the one that it is told, and refuses one that is there already.
func restamp(element string, s virt.Stamp) (string, error) {
	var m struct {
		XMLName xml.Name      `xml:"instance"`
		Stamp   metadataStamp `xml:"stamp"`
		Name    string        `xml:"name"`
		Flavor  string        `xml:"flavor,omitempty"`
		Project *metadataWho  `xml:"project"`
		User    *metadataWho  `xml:"user"`
	}
	if err := xml.Unmarshal([]byte(element), &m); err != nil {
		return "", fmt.Errorf("read metadata: %w", err)
	}
	m.XMLName.Space = ""
	m.Stamp = metadataStamp{Cluster: s.Cluster, Instance: s.Instance, Generation: s.Generation, Epoch: s.Epoch}
	b, err := xml.Marshal(m)
	if err != nil {
		return "", fmt.Errorf("encode metadata: %w", err)
	}
	return string(b), nil
}
