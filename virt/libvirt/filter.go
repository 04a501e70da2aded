package libvirt

import (
	"context"
	"fmt"
	"net/netip"
	"sync"

	rpc "github.com/digitalocean/go-libvirt"
	"libvirt.org/go/libvirtxml"

	"github.com/kilonova/kilonova/virt"
)

// The filters that network cards refer to. Each needs the ones of its own kind below.
const (
	filterBoth = "kilonova-clean"    // IPv4 and IPv6 addresses are known
	filterSix  = "kilonova-clean-v6" // only IPv6 addresses are known: no IPv4 and no ARP
	filterMAC  = "kilonova-clean-mac"
)

// filters are libvirt network filters (nwfilter), which libvirtd turns into ebtables rules before a guest's
// first instruction and takes away after its last. They stand on their own: libvirt's example filters need not
// be installed. The UUIDs are fixed, so that defining a filter again is no change.
//
// A guest may send only from its own MAC, from its own addresses and its MAC's link-local address, and ARP only
// for its own addresses; plus what it needs before it has an address: DHCP, ARP probes (RFC 5227) and IPv6
// duplicate address detection. Everything that is not ARP, IPv4, IPv6 or the RARP frame by which QEMU announces
// a migrated guest is dropped. ebtables cannot see the target inside an IPv6 neighbour advertisement: a guest
// can still claim a neighbour's IPv6 address in one, sent from its own.
var filters = []filterText{
	{`kilonova-no-mac-spoofing`, `<filter name='kilonova-no-mac-spoofing' chain='mac' priority='-800'>
  <uuid>7d0d1f5c-6a3c-4f0e-9a55-4b1e0a6f1a01</uuid>
  <rule direction='out' action='return'><mac srcmacaddr='$MAC'/></rule>
  <rule direction='out' action='drop'><mac/></rule>
</filter>`},
	{`kilonova-no-ipv4-spoofing`, `<filter name='kilonova-no-ipv4-spoofing' chain='ipv4-ip' priority='-710'>
  <uuid>7d0d1f5c-6a3c-4f0e-9a55-4b1e0a6f1a02</uuid>
  <rule direction='out' action='return' priority='100'><ip srcipaddr='0.0.0.0' protocol='udp' srcportstart='68' dstportstart='67'/></rule>
  <rule direction='out' action='return' priority='500'><ip srcipaddr='$IPV4'/></rule>
  <rule direction='out' action='drop' priority='1000'/>
</filter>`},
	{`kilonova-no-ipv6-spoofing`, `<filter name='kilonova-no-ipv6-spoofing' chain='ipv6-ip' priority='-610'>
  <uuid>7d0d1f5c-6a3c-4f0e-9a55-4b1e0a6f1a03</uuid>
  <rule direction='out' action='return' priority='100'><ipv6 srcipaddr='::' srcipmask='128' protocol='icmpv6'/></rule>
  <rule direction='out' action='return' priority='500'><ipv6 srcipaddr='$IPV6'/></rule>
  <rule direction='out' action='drop' priority='1000'/>
</filter>`},
	{`kilonova-no-arp-mac-spoofing`, `<filter name='kilonova-no-arp-mac-spoofing' chain='arp-mac' priority='-520'>
  <uuid>7d0d1f5c-6a3c-4f0e-9a55-4b1e0a6f1a04</uuid>
  <rule direction='out' action='return' priority='350'><arp arpsrcmacaddr='$MAC'/></rule>
  <rule direction='out' action='drop' priority='1000'/>
</filter>`},
	{`kilonova-no-arp-ip-spoofing`, `<filter name='kilonova-no-arp-ip-spoofing' chain='arp-ip' priority='-510'>
  <uuid>7d0d1f5c-6a3c-4f0e-9a55-4b1e0a6f1a05</uuid>
  <rule direction='out' action='return' priority='400'><arp arpsrcipaddr='$IPV4'/></rule>
  <rule direction='out' action='return' priority='410'><arp arpsrcipaddr='0.0.0.0'/></rule>
  <rule direction='out' action='drop' priority='1000'/>
</filter>`},
	{filterBoth, `<filter name='kilonova-clean' chain='root'>
  <uuid>7d0d1f5c-6a3c-4f0e-9a55-4b1e0a6f1a06</uuid>
  <filterref filter='kilonova-no-mac-spoofing'/>
  <filterref filter='kilonova-no-ipv4-spoofing'/>
  <rule direction='out' action='accept' priority='-650'><mac protocolid='ipv4'/></rule>
  <filterref filter='kilonova-no-ipv6-spoofing'/>
  <rule direction='out' action='accept' priority='-550'><mac protocolid='ipv6'/></rule>
  <filterref filter='kilonova-no-arp-mac-spoofing'/>
  <filterref filter='kilonova-no-arp-ip-spoofing'/>
  <rule direction='out' action='accept' priority='-500'><mac protocolid='arp'/></rule>
  <rule direction='out' action='accept' priority='-400'><rarp opcode='Request_Reverse'/></rule>
  <rule direction='out' action='drop' priority='1000'/>
</filter>`},
	{filterSix, `<filter name='kilonova-clean-v6' chain='root'>
  <uuid>7d0d1f5c-6a3c-4f0e-9a55-4b1e0a6f1a07</uuid>
  <filterref filter='kilonova-no-mac-spoofing'/>
  <filterref filter='kilonova-no-ipv6-spoofing'/>
  <rule direction='out' action='accept' priority='-550'><mac protocolid='ipv6'/></rule>
  <rule direction='out' action='accept' priority='-400'><rarp opcode='Request_Reverse'/></rule>
  <rule direction='out' action='drop' priority='1000'/>
</filter>`},
	{filterMAC, `<filter name='kilonova-clean-mac' chain='root'>
  <uuid>7d0d1f5c-6a3c-4f0e-9a55-4b1e0a6f1a08</uuid>
  <filterref filter='kilonova-no-mac-spoofing'/>
  <filterref filter='kilonova-no-arp-mac-spoofing'/>
</filter>`},
}

type filterText struct{ name, xml string }

// filterFor gives the filter of a card and its parameters.
func filterFor(n virt.NIC) (*libvirtxml.DomainInterfaceFilterRef, error) {
	if len(n.Addresses) == 0 {
		return &libvirtxml.DomainInterfaceFilterRef{Filter: filterMAC}, nil
	}
	local, err := linkLocal(n.MAC)
	if err != nil {
		return nil, err
	}
	ref := &libvirtxml.DomainInterfaceFilterRef{Filter: filterSix}
	six := []libvirtxml.DomainInterfaceFilterParam{{Name: "IPV6", Value: local.String()}}
	for _, a := range n.Addresses {
		ip, err := netip.ParseAddr(a)
		if err != nil {
			return nil, fmt.Errorf("address %q: %w", a, err)
		}
		if ip.Is4() {
			ref.Filter = filterBoth
			ref.Parameters = append(ref.Parameters, libvirtxml.DomainInterfaceFilterParam{Name: "IPV4", Value: ip.String()})
		} else {
			six = append(six, libvirtxml.DomainInterfaceFilterParam{Name: "IPV6", Value: ip.String()})
		}
	}
	ref.Parameters = append(ref.Parameters, six...)
	return ref, nil
}

// filterState remembers whether this libvirtd knows the filters.
type filterState struct {
	mu      sync.Mutex
	defined bool
}

func (f *filterState) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.defined = false
}

// defineFilters makes sure that libvirtd has the filters, as this version of Kilonova has them.
func (d *Driver) defineFilters(ctx context.Context) error {
	d.filter.mu.Lock()
	defer d.filter.mu.Unlock()
	if d.filter.defined {
		return nil
	}
	for _, f := range filters {
		_, err := ask(ctx, d.rpc, "define network filter "+f.name, func(l *rpc.Libvirt) (rpc.Nwfilter, error) {
			return l.NwfilterDefineXML(f.xml)
		})
		if hasCode(err, rpc.ErrNoSupport) {
			return fmt.Errorf("libvirt has no network filter driver (Debian: package libvirt-daemon-system): %w", err)
		}
		if err != nil {
			return err
		}
	}
	d.filter.defined = true
	return nil
}
