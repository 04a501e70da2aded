package virttest

// BootSectorPrints is how each line of the boot sector's output begins; a count in four hexadecimal digits
// follows.
const BootSectorPrints = "kilonova guest count "

// bootImageSize is large enough for every firmware to take the image for a disk.
const bootImageSize = 1 << 20

// bootSector is 16-bit code for a PC's BIOS. It prints a line on the first serial port about twice a second
// and sleeps in between, for ever. It ignores the power button.
var bootSector = []byte{
	0x31, 0xc0, //             xor  ax, ax
	0x8e, 0xd8, //             mov  ds, ax
	0x8e, 0xd0, //             mov  ss, ax
	0xbc, 0x00, 0x7c, //       mov  sp, 0x7c00
	0xfc,       //             cld
	0xfb,       //             sti
	0x31, 0xdb, //             xor  bx, bx         ; the count
	0xbe, 0x55, 0x7c, // line: mov  si, text
	0xac,       //      chars: lodsb
	0x84, 0xc0, //             test al, al
	0x74, 0x05, //             jz   number
	0xe8, 0x2e, 0x00, //       call put
	0xeb, 0xf6, //             jmp  chars
	0xb9, 0x04, 0x00, // number: mov cx, 4
	0x89, 0xdf, //             mov  di, bx
	0xc1, 0xc7, 0x04, // digit: rol di, 4
	0x89, 0xf8, //             mov  ax, di
	0x24, 0x0f, //             and  al, 15
	0x04, 0x30, //             add  al, '0'
	0x3c, 0x39, //             cmp  al, '9'
	0x76, 0x02, //             jbe  +2
	0x04, 0x07, //             add  al, 'A'-'9'-1
	0xe8, 0x15, 0x00, //       call put
	0xe2, 0xec, //             loop digit
	0xb0, 0x0d, //             mov  al, '\r'
	0xe8, 0x0e, 0x00, //       call put
	0xb0, 0x0a, //             mov  al, '\n'
	0xe8, 0x09, 0x00, //       call put
	0x43,             //       inc  bx
	0xb9, 0x09, 0x00, //       mov  cx, 9          ; ticks of the timer, 18.2 a second
	0xf4,       //       tick: hlt
	0xe2, 0xfd, //             loop tick
	0xeb, 0xc7, //             jmp  line
	0x50,             // put:  push ax
	0xba, 0xfd, 0x03, //       mov  dx, 0x3fd      ; line status
	0xec,       //       wait: in   al, dx
	0xa8, 0x20, //             test al, 0x20       ; room to send?
	0x74, 0xfb, //             jz   wait
	0x58,             //       pop  ax
	0xba, 0xf8, 0x03, //       mov  dx, 0x3f8
	0xee, //                   out  dx, al
	0xc3, //                   ret
}

// BootSector gives a raw disk image that boots on a PC with a BIOS, in less than a second and 1 MiB of memory.
func BootSector() []byte {
	image := make([]byte, bootImageSize)
	n := copy(image, bootSector)
	copy(image[n:], BootSectorPrints+"\x00")
	image[510], image[511] = 0x55, 0xaa
	return image
}
