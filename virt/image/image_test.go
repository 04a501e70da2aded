package image_test

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt/image"
)

func inspect(t *testing.T, b []byte) image.Info {
	t.Helper()
	info, err := image.Inspect(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return info
}

const gib = 1 << 30

// Each format as it should be is accepted as what it is.
func TestCheck_GoodImagesPass(t *testing.T) {
	for _, c := range []struct {
		name    string
		claimed image.Format
		b       []byte
		virtual int64
	}{
		{"qcow2", image.QCOW2, qcow2(), gib},
		{"qcow2 version 2", image.QCOW2, qcow2(be32(4, 2), be32(100, 0), be32(96, 0)), gib},
		{"qcow2 with snapshots", image.QCOW2, qcow2(be32(60, 2), be64(64, 64*kib)), gib},
		{"qcow2 with zstd", image.QCOW2, qcow2(be64(72, 8), be32(100, 112), text(104, "\x01")), gib},
		{"qcow2 not closed", image.QCOW2, qcow2(be64(72, 1)), gib},
		{"vmdk", image.VMDK, vmdk(), gib},
		{"vmdk, stream", image.VMDK, streamVMDK(), gib},
		{"vdi", image.VDI, vdi(), 2 * mib},
		{"vhd", image.VHD, vhd(), 4 * mib},
		{"vhd, fixed", image.VHD, fixedVHD(), 64 * kib},
		{"vhdx", image.VHDX, vhdx(), gib},
		{"iso", image.ISO, iso(), 64 * kib},
		{"iso that boots from a stick", image.ISO, iso(text(510, "\x55\xaa"), text(450, "\x83"), le32(458, 1)), 64 * kib},
		{"disk", image.Raw, mbr(), 64 * kib},
		{"gpt disk", image.Raw, mbr(text(512, "EFI PART")), 64 * kib},
		{"plain data", image.Raw, make([]byte, 1000), 1000},
		{"one byte", image.Raw, []byte{1}, 1},
		{"file system", image.AMI, make([]byte, 1000), 1000},
		{"kernel", image.AKI, apply(make([]byte, 2048), text(510, "\x55\xaaxxHdrS")), 2048},
		{"arm kernel", image.AKI, apply(make([]byte, 2048), text(56, "ARM\x64")), 2048},
		{"ramdisk", image.ARI, []byte("070701" + strings.Repeat("0", 200)), 206},
		{"gzip ramdisk", image.ARI, []byte("\x1f\x8b\x08" + strings.Repeat("x", 200)), 203},
	} {
		info := inspect(t, c.b)
		if err := image.Check(c.claimed, info); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if info.VirtualSize != c.virtual || info.Size != int64(len(c.b)) {
			t.Errorf("%s: %+v", c.name, info)
		}
	}
}

// A user claims one thing and brings another, so that a later guess falls for it. The worst are raw images
// that begin with another format's mark: a guest can write one into its own disk.
func TestCheck_LiesAreRefused(t *testing.T) {
	all := map[string][]byte{
		"qcow2": qcow2(), "vmdk": vmdk(), "vdi": vdi(), "vhd": vhd(), "vhdx": vhdx(), "iso": iso(), "plain": make([]byte, 1000),
		"luks": []byte("LUKS\xba\xbe\x00\x01" + strings.Repeat("x", 1000)), "qed": []byte("QED\x00" + strings.Repeat("x", 1000)),
		"cowd": []byte("COWD" + strings.Repeat("x", 1000)), "qcow1": []byte("QFI\xfb\x00\x00\x00\x01" + strings.Repeat("x", 1000)),
		"fixed vhd": fixedVHD(), "dmg": []byte(strings.Repeat("x", 1000) + "koly" + strings.Repeat("x", 508)),
		"parallels": []byte("WithouFreSpacExt" + strings.Repeat("x", 1000)), "bochs": []byte("Bochs Virtual HD Image" + strings.Repeat("x", 1000)),
		"cloop":     []byte("#!/bin/sh\n#V2.0 Format\nmodprobe cloop file=$0\n"),
		"vmdk text": []byte("# comment\n\nversion=1\ncreateType=\"monolithicFlat\"\nRW 1 FLAT \"/etc/shadow\" 0\n"),
	}
	for name, b := range all {
		for _, claimed := range []image.Format{image.Raw, image.QCOW2, image.VMDK, image.VDI, image.VHD, image.VHDX, image.ISO,
			image.AMI, image.AKI, image.ARI} {
			honest := string(claimed) == name || name == "fixed vhd" && claimed == image.VHD ||
				name == "plain" && slices.Contains([]image.Format{image.Raw, image.AMI, image.AKI, image.ARI}, claimed)
			if err := image.Check(claimed, inspect(t, b)); (err == nil) != honest {
				t.Errorf("%s claimed as %s: %v", name, claimed, err)
			}
		}
	}
	for _, claimed := range []image.Format{"", "qed", "gpt", "mbr", "kernel", "luks", "RAW", "nbd"} {
		if err := image.Check(claimed, inspect(t, make([]byte, 1000))); err == nil {
			t.Errorf("%q was accepted", claimed)
		}
	}
}

// The bytes of one format and the mark of another: two programs would read two different disks.
func TestCheck_PolyglotsAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		claimed image.Format
		b       []byte
	}{
		"qcow2 and iso":      {image.QCOW2, qcow2(text(32*kib, "\x01CD001"))},
		"iso and qcow2":      {image.ISO, qcow2(text(32*kib, "\x01CD001"))},
		"qcow2 and vhd":      {image.QCOW2, append(qcow2(), fixedVHD()[64*kib:]...)},
		"iso and vmdk":       {image.ISO, vmdk(text(32*kib, "\x01CD001"))},
		"qcow2 and vdi":      {image.QCOW2, qcow2(text(0x40, "\x7f\x10\xda\xbe"))},
		"kernel and vhd":     {image.AKI, append(apply(make([]byte, 1024), text(514, "HdrS")), fixedVHD()[64*kib:]...)},
		"vmdk and partition": {image.VMDK, vmdk(text(510, "\x55\xaa"), text(450, "\x83"), le32(458, 64))},
	} {
		if err := image.Check(c.claimed, inspect(t, c.b)); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

// Every way in which an image can be made to reach for other files, or to cost its reader.
func TestCheck_HarmfulImagesAreRefused(t *testing.T) {
	const unit = 64 * kib
	desc := func(kind, extents string) []byte {
		return vmdk(text(512, descriptor(kind, extents)+strings.Repeat("\x00", 100)))
	}
	extent := `RW 2097152 SPARSE "d.vmdk"`
	for name, c := range map[string]struct {
		claimed image.Format
		b       []byte
		says    string
	}{
		"empty":                           {image.Raw, nil, "empty"},
		"qcow2 backing file":              {image.QCOW2, qcow2(be64(8, 200), be32(16, 11), text(200, "/etc/shadow")), "backing file"},
		"qcow2 backing format":            {image.QCOW2, qcow2(be32(104, 0xe2792aca), be32(108, 3), text(112, "raw")), "backing file"},
		"qcow2 data file":                 {image.QCOW2, qcow2(be64(72, 4)), "another file"},
		"qcow2 data file name":            {image.QCOW2, qcow2(be32(104, 0x44415441), be32(108, 3), text(112, "/x")), "data file"},
		"qcow2 data file name, second":    {image.QCOW2, qcow2(be32(104, 7), be32(108, 1), be32(120, 0x44415441)), "data file"},
		"qcow2 unknown feature":           {image.QCOW2, qcow2(be64(72, 32)), "unknown features 0x20"},
		"qcow2 unknown feature, high":     {image.QCOW2, qcow2(be64(72, 1<<63)), "unknown features"},
		"qcow2 corrupt":                   {image.QCOW2, qcow2(be64(72, 2)), "corrupt"},
		"qcow2 compression unannounced":   {image.QCOW2, qcow2(be32(100, 112), text(104, "\x01")), "compression"},
		"qcow2 compression unknown":       {image.QCOW2, qcow2(be64(72, 8), be32(100, 112), text(104, "\x02")), "compression"},
		"qcow2 AES":                       {image.QCOW2, qcow2(be32(32, 1)), "AES"},
		"qcow2 encrypted":                 {image.QCOW2, qcow2(be32(32, 2)), "encrypted"},
		"qcow2 unknown encryption":        {image.QCOW2, qcow2(be32(32, 3)), "unknown method"},
		"qcow2 version":                   {image.QCOW2, qcow2(be32(4, 4)), "version 4"},
		"qcow2 clusters, small":           {image.QCOW2, qcow2(be32(20, 8)), "clusters"},
		"qcow2 clusters, huge":            {image.QCOW2, qcow2(be32(20, 64)), "clusters"},
		"qcow2 size":                      {image.QCOW2, qcow2(be64(24, 1<<62)), "cover"},
		"qcow2 size, all ones":            {image.QCOW2, qcow2(be64(24, 1<<64-1)), "absurd"},
		"qcow2 L1 too small":              {image.QCOW2, qcow2(be32(36, 1)), "cover"},
		"qcow2 L1 too large":              {image.QCOW2, qcow2(be32(36, 1<<31)), "too large"},
		"qcow2 L1 beyond the end":         {image.QCOW2, qcow2(be64(40, 100*unit)), "beyond"},
		"qcow2 L1 wraps around":           {image.QCOW2, qcow2(be64(40, 1<<64-unit)), "beyond"},
		"qcow2 L1 off its cluster":        {image.QCOW2, qcow2(be64(40, 3*unit+8)), "cluster"},
		"qcow2 L1 entry beyond the end":   {image.QCOW2, qcow2(be64(3*unit+8, 1<<63|99*unit)), "points beyond"},
		"qcow2 L1 entry damaged":          {image.QCOW2, qcow2(be64(3*unit+8, 1)), "damaged"},
		"qcow2 refcounts beyond the end":  {image.QCOW2, qcow2(be64(48, 100*unit)), "beyond"},
		"qcow2 refcounts too large":       {image.QCOW2, qcow2(be32(56, 1<<31)), "too large"},
		"qcow2 no refcounts":              {image.QCOW2, qcow2(be32(56, 0)), "refcount"},
		"qcow2 refcount bits":             {image.QCOW2, qcow2(be32(96, 7)), "refcounts"},
		"qcow2 header length":             {image.QCOW2, qcow2(be32(100, 8)), "header length"},
		"qcow2 header length, huge":       {image.QCOW2, qcow2(be32(100, 1<<31)), "header length"},
		"qcow2 extension too long":        {image.QCOW2, qcow2(be32(104, 7), be32(108, 1<<31)), "extensions"},
		"qcow2 many snapshots":            {image.QCOW2, qcow2(be32(60, 1<<20)), "snapshots"},
		"qcow2 snapshots beyond the end":  {image.QCOW2, qcow2(be32(60, 1), be64(64, 100*unit)), "snapshot table"},
		"qcow2 small subclusters":         {image.QCOW2, qcow2(be64(72, 16), be32(20, 13)), "subclusters"},
		"qcow2 truncated":                 {image.QCOW2, qcow2(cut(4 * unit)), "beyond"},
		"qcow2 just a header":             {image.QCOW2, qcow2(cut(50)), "cut off"},
		"qcow2 cut in version 3":          {image.QCOW2, qcow2(cut(80)), "cut off"},
		"vmdk flat":                       {image.VMDK, desc("monolithicFlat", extent), "VMDK type"},
		"vmdk no type":                    {image.VMDK, desc("", extent), "VMDK type"},
		"vmdk two types":                  {image.VMDK, desc(`monolithicSparse"`+"\ncreateType=\"monolithicSparse", extent), "VMDK type"},
		"vmdk path":                       {image.VMDK, desc("monolithicSparse", `RW 2097152 SPARSE "/etc/shadow"`), "another file"},
		"vmdk windows path":               {image.VMDK, desc("monolithicSparse", `RW 2097152 SPARSE "c:\x"`), "another file"},
		"vmdk flat extent":                {image.VMDK, desc("monolithicSparse", `RW 2097152 FLAT "x" 0`), "another file"},
		"vmdk read-only extent":           {image.VMDK, desc("monolithicSparse", `RDONLY 2097152 SPARSE "x"`), "another file"},
		"vmdk two extents":                {image.VMDK, desc("monolithicSparse", extent+"\n"+extent), "2 extents"},
		"vmdk no extents":                 {image.VMDK, desc("monolithicSparse", ""), "0 extents"},
		"vmdk nonsense":                   {image.VMDK, desc("monolithicSparse", extent+"\nsurprise"), "not understood"},
		"vmdk parent":                     {image.VMDK, desc("monolithicSparse", extent+"\nparentFileNameHint=\"/x\""), "parent"},
		"vmdk parent ID":                  {image.VMDK, desc("monolithicSparse", extent+"\nparentCID = 1234"), "parent"},
		"vmdk change tracking":            {image.VMDK, desc("monolithicSparse", extent+"\nchangeTrackPath=\"x\""), "tracks"},
		"vmdk without a disk":             {image.VMDK, vmdk(le64(12, 0)), "no disk"},
		"vmdk without a descriptor":       {image.VMDK, vmdk(le64(28, 0)), "no descriptor"},
		"vmdk descriptor beyond the end":  {image.VMDK, vmdk(le64(28, 1000)), "descriptor"},
		"vmdk descriptor wraps around":    {image.VMDK, vmdk(le64(28, 1<<63)), "descriptor"},
		"vmdk descriptor too large":       {image.VMDK, vmdk(le64(36, 1<<40)), "descriptor"},
		"vmdk version":                    {image.VMDK, vmdk(le32(4, 9)), "version 9"},
		"vmdk size":                       {image.VMDK, vmdk(le64(12, 1<<60)), "virtual size"},
		"vmdk directory":                  {image.VMDK, vmdk(le64(56, 1<<40)), "directory"},
		"vmdk footer contradicts":         {image.VMDK, streamVMDK(func(b []byte) []byte { b[len(b)-1024+28]++; return b }), "footer"},
		"vmdk footer missing":             {image.VMDK, streamVMDK(more(512)), "footer"},
		"vmdk text":                       {image.VMDK, []byte(descriptor("monolithicFlat", `RW 1 FLAT "/etc/shadow" 0`)), "descriptor"},
		"vmdk cut off":                    {image.VMDK, vmdk(cut(100)), "cut off"},
		"vdi parent":                      {image.VDI, vdi(text(0x1b8, "x")), "parent"},
		"vdi difference":                  {image.VDI, vdi(le32(0x4c, 4)), "neither"},
		"vdi version":                     {image.VDI, vdi(le32(0x44, 1)), "version"},
		"vdi blocks":                      {image.VDI, vdi(le32(0x178, 1)), "blocks"},
		"vdi size":                        {image.VDI, vdi(le64(0x170, 1<<40)), "cover"},
		"vdi map beyond the end":          {image.VDI, vdi(le32(0x180, 0x3fffffff)), "beyond"},
		"vdi cut off":                     {image.VDI, vdi(cut(300)), "cut off"},
		"vhd difference":                  {image.VHD, vhd(be32(60, 4)), "depends"},
		"vhd parent":                      {image.VHD, vhd(text(512+40, "x")), "parent"},
		"vhd blocks":                      {image.VHD, vhd(be32(512+32, 3)), "blocks"},
		"vhd size":                        {image.VHD, vhd(be64(48, 1<<50)), "cover"},
		"vhd table beyond the end":        {image.VHD, vhd(be64(512+16, 1<<63)), "beyond"},
		"vhd header beyond the end":       {image.VHD, vhd(be64(16, 1<<63)), "header"},
		"vhd fixed, size":                 {image.VHD, fixedVHD(be64(48, mib)), "cut off"},
		"vhd fixed, dynamic at heart":     {image.VHD, fixedVHD(be32(60, 3)), "does not begin"},
		"vhd checksum":                    {image.VHD, apply(vhd(), text(20, "x")), "checksum"},
		"vhdx parent":                     {image.VHDX, vhdx(le32(320*kib+4, 2)), "depends"},
		"vhdx parent locator":             {image.VHDX, vhdx(le32(256*kib+8, 3<<16), text(256*kib+96, "\x2d\x5f\xd3\xa8\x0b\xb3\x4d\x45\xab\xf7\xd3\xd8\x48\x34\xab\x0c")), "parent"},
		"vhdx without a size":             {image.VHDX, vhdx(le32(256*kib+8, 1<<16)), "lacks"},
		"vhdx two sizes":                  {image.VHDX, vhdx(le32(256*kib+8, 3<<16), text(256*kib+96, "\x24\x42\xa5\x2f\x1b\xcd\x76\x48\xb2\x11\x5d\xbe\xd8\x3b\xf4\xb8")), "contradicts"},
		"vhdx absurd size":                {image.VHDX, vhdx(le64(320*kib+8, 1<<63)), "absurd"},
		"vhdx unknown required region":    {image.VHDX, vhdx(text(192*kib+16, "?")), "regions"},
		"vhdx many regions":               {image.VHDX, vhdx(le32(192*kib+8, 1<<31)), "regions"},
		"vhdx metadata beyond the end":    {image.VHDX, vhdx(le64(192*kib+32, 1<<60)), "regions"},
		"vhdx metadata items beyond it":   {image.VHDX, vhdx(le32(256*kib+80, 1<<31)), "contradicts"},
		"vhdx metadata damaged":           {image.VHDX, vhdx(text(256*kib, "x")), "metadata"},
		"vhdx cut off":                    {image.VHDX, vhdx(cut(100 * kib)), "regions"},
		"vhdx too large for our taste":    {image.VHDX, vhdx(le64(320*kib+8, 17<<40)), "virtual size"},
		"iso that is said to be a kernel": {image.AKI, iso(), "claims to be aki and is iso"},
	} {
		err := image.Check(c.claimed, inspect(t, c.b))
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v, want it to say %q", name, err, c.says)
		}
		if err != nil && cluster.CodeOf(err) != cluster.Invalid {
			t.Errorf("%s: code %v", name, cluster.CodeOf(err))
		}
	}
}

// An operator may want encrypted images, or smaller ones than the default.
func TestPolicy_ChangesWhatPasses(t *testing.T) {
	encrypted := inspect(t, qcow2(be32(32, 2)))
	if err := (image.Policy{Encrypted: true}).Check(image.QCOW2, encrypted); err != nil {
		t.Error(err)
	}
	if err := (image.Policy{MaxVirtualBytes: gib - 1}).Check(image.QCOW2, inspect(t, qcow2())); err == nil {
		t.Error("an image over the limit passed")
	}
}

// A disk that cannot be read is not a bad image: the error must not be blamed on the user.
func TestInspect_ReadErrorIsReported(t *testing.T) {
	broken := errors.New("input/output error")
	if _, err := image.Inspect(failing{broken}, 1000); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
	if _, err := image.Inspect(bytes.NewReader(nil), 1000); !errors.Is(err, io.EOF) {
		t.Errorf("shorter than its size: %v", err)
	}
	if _, err := image.Inspect(bytes.NewReader(nil), -1); err == nil {
		t.Error("negative size")
	}
}

type failing struct{ err error }

func (f failing) ReadAt([]byte, int64) (int, error) { return 0, f.err }

// greedy counts what is read.
type greedy struct {
	*bytes.Reader
	read int
}

func (g *greedy) ReadAt(p []byte, off int64) (int, error) {
	g.read += len(p)
	return g.Reader.ReadAt(p, off)
}

// Whatever comes: no panic, no more work than the tables that are allowed, and no harmful image passes.
func FuzzInspect(f *testing.F) {
	for _, b := range [][]byte{nil, qcow2(), vmdk(), streamVMDK(), vdi(), vhd(), fixedVHD(), vhdx(), mbr(), iso(),
		qcow2(be64(8, 200)), qcow2(be32(36, 1<<22)), qcow2(cut(60)), vhdx(le32(256*kib+8, 0xffff<<16)),
		[]byte(descriptor("monolithicFlat", `RW 1 FLAT "/etc/shadow" 0`)), []byte("\x7fELF"), []byte("070701")} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := &greedy{Reader: bytes.NewReader(b)}
		info, err := image.Inspect(r, int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		if r.read > 8*mib+len(b)*2 {
			t.Errorf("read %d bytes of an image of %d", r.read, len(b))
		}
		if info.VirtualSize < 0 {
			t.Errorf("virtual size %d", info.VirtualSize)
		}
		if image.Check(image.QCOW2, info) == nil && !isZero(b[8:16]) {
			t.Error("a backing file passed")
		}
		if image.Check(image.Raw, info) == nil && bytes.HasPrefix(b, []byte("QFI\xfb")) {
			t.Error("a qcow2 passed as raw")
		}
	})
}

func isZero(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }
