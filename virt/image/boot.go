package image

import "encoding/binary"

// What is found on disks and beside them: partition tables, CD images, kernels and ramdisks. Nothing in them
// is followed by a hypervisor, so it is enough to know them.

const (
	mbrMark       = "\x55\xaa" // at 510
	mbrTable      = 446
	mbrEntry      = 16
	gptMark       = "EFI PART" // at the second sector
	isoDescriptor = 32 << 10   // where the volume descriptors begin
)

func lookISO(in *inspection) {
	for _, mark := range []string{"CD001", "NSR02", "NSR03"} {
		if in.has(isoDescriptor+1, mark) {
			in.found(ISO)
			return
		}
	}
}

// lookPartitions follows the UEFI specification for both kinds of table.
func lookPartitions(in *inspection) {
	if in.has(512, gptMark) || in.has(4096, gptMark) {
		in.found(GPT)
		return
	}
	b := in.read(0, 512)
	if b == nil || string(b[510:]) != mbrMark {
		return
	}
	used := false
	for e := b[mbrTable:510]; len(e) > 0; e = e[mbrEntry:] {
		if e[0]&0x7f != 0 {
			return // neither active nor inactive: a boot sector with something else there
		}
		used = used || e[4] != 0 && binary.LittleEndian.Uint32(e[12:]) != 0
	}
	if used {
		in.found(MBR)
	}
}

// lookKernel knows kernels by what their boot loaders look for: Linux's boot protocol on x86, arm64 and RISC-V,
// ELF, and EFI programs.
func lookKernel(in *inspection) {
	if in.has(0x202, "HdrS") || in.has(56, "ARM\x64") || in.has(56, "RSC\x05") || in.has(0, "\x7fELF") || in.has(0, "MZ") {
		in.found(Kernel)
	}
}

// lookRamdisk knows the archives and compressions that Linux takes for an initial ramdisk.
func lookRamdisk(in *inspection) {
	for _, magic := range []string{
		"070701", "070702", "\x1f\x8b", "\x28\xb5\x2f\xfd", "\xfd7zXZ\x00", "\x02\x21\x4c\x18", "\x5d\x00\x00", "BZh", "\x89LZO",
	} {
		if in.has(0, magic) {
			in.found(Ramdisk)
			return
		}
	}
}
