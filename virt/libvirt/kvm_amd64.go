package libvirt

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The parts of the KVM interface that the probe uses, from Linux' Documentation/virt/kvm/api.rst.
const (
	kvmGetAPIVersion       = 0xae00
	kvmCreateVM            = 0xae01
	kvmGetVCPUMmapSize     = 0xae04
	kvmCreateVCPU          = 0xae41
	kvmSetTSSAddr          = 0xae47
	kvmSetUserMemoryRegion = 0x4020ae46
	kvmRun                 = 0xae80
	kvmSetRegs             = 0x4090ae82
	kvmGetSregs            = 0x8138ae83
	kvmSetSregs            = 0x4138ae84
	kvmGetSupportedCPUID   = 0xc008ae05
	kvmSetCPUID2           = 0x4008ae90

	kvmAPIVersion = 12
	kvmExitIO     = 2
	kvmExitHLT    = 5

	immediateExitAt = 1 // in the shared page: makes the next KVM_RUN return at once
	exitReasonAt    = 8
	exitIOPortAt    = 32 + 2 // struct { u8 direction, size; u16 port; u32 count; u64 data_offset }
	exitIODataAt    = 32 + 8
)

// Where the probe's guest has its things, in guest-physical bytes.
const (
	guestMemory  = 0x10000
	guestPML4    = 0x1000
	guestPDPT    = 0x2000
	guestPD      = 0x3000
	guestGDT     = 0x4000
	guestCode    = 0x5000
	tssAddress   = 0xfffbd000 // three pages that Intel processors need, out of the guest's way
	resultPort   = 0x3f8
	resultGood   = 'K'
	maxCPUIDs    = 256
	codeSelector = 0x08
	dataSelector = 0x10
	flatSelector = 0x18 // 32-bit code
)

// longModeProgram is the probe's guest. It begins in 32-bit protected mode, where a boot loader leaves a
// kernel, turns on long mode as a kernel does, computes something in 64-bit registers through its own page
// tables, counts to fifty million, and sends resultGood to the serial port. A processor that runs guests itself
// counts that far in about 20 ms. A KVM that emulates them instruction by instruction, as that of a nested
// cloud without nested virtualization may do, needs a minute, and a kernel would seem to hang in early boot.
var longModeProgram = []byte{
	0x0f, 0x20, 0xe0, //                   mov  eax, cr4
	0x83, 0xc8, 0x20, //                   or   eax, PAE
	0x0f, 0x22, 0xe0, //                   mov  cr4, eax
	0xb8, 0x00, 0x10, 0x00, 0x00, //       mov  eax, guestPML4
	0x0f, 0x22, 0xd8, //                   mov  cr3, eax
	0xb9, 0x80, 0x00, 0x00, 0xc0, //       mov  ecx, EFER
	0x0f, 0x32, //                         rdmsr
	0x0d, 0x00, 0x01, 0x00, 0x00, //       or   eax, LME
	0x0f, 0x30, //                         wrmsr
	0x0f, 0x20, 0xc0, //                   mov  eax, cr0
	0x0d, 0x00, 0x00, 0x00, 0x80, //       or   eax, PG
	0x0f, 0x22, 0xc0, //                   mov  cr0, eax
	0xea, 0x31, 0x50, 0x00, 0x00, 0x08, 0x00, // jmp codeSelector:guestCode+0x31
	0x48, 0xb8, 0xf0, 0xde, 0xbc, 0x9a, 0x78, 0x56, 0x34, 0x12, // mov rax, 0x123456789abcdef0
	0x48, 0x0f, 0xc8, //                   bswap rax
	0x48, 0x89, 0x04, 0x25, 0x00, 0x60, 0x00, 0x00, // mov [0x6000], rax
	0x48, 0x31, 0x04, 0x25, 0x00, 0x60, 0x00, 0x00, // xor [0x6000], rax
	0x75, 0x1b, //                         jnz  bad
	0x31, 0xc0, //                         xor  eax, eax
	0x0f, 0xa2, //                         cpuid
	0x0f, 0x20, 0xd8, //                   mov  rax, cr3
	0x0f, 0x22, 0xd8, //                   mov  cr3, rax
	0xb9, 0x80, 0xf0, 0xfa, 0x02, //       mov  ecx, 50,000,000 (at longModeCountAt)
	0xff, 0xc9, //                   loop: dec  ecx
	0x75, 0xfc, //                         jnz  loop
	0x66, 0xba, 0xf8, 0x03, //             mov  dx, resultPort
	0xb0, resultGood, //                   mov  al, resultGood
	0xee,                   //                               out  dx, al
	0xf4,                   //                               hlt
	0x66, 0xba, 0xf8, 0x03, //        bad: mov  dx, resultPort
	0xb0, '!', //                          mov  al, '!'
	0xee, //                               out  dx, al
	0xf4, //                               hlt
}

// longModeCountAt is where the program has the number to which it counts, little-endian.
const longModeCountAt = 0x5b

// kvmSegment is struct kvm_segment.
type kvmSegment struct {
	Base                                 uint64
	Limit                                uint32
	Selector                             uint16
	Type, Present, DPL, DB, S, L, G, AVL uint8
	Unusable, _                          uint8
}

// kvmSregs is struct kvm_sregs.
type kvmSregs struct {
	CS, DS, ES, FS, GS, SS, TR, LDT kvmSegment
	GDT, IDT                        struct {
		Base  uint64
		Limit uint16
		_     [3]uint16
	}
	CR0, CR2, CR3, CR4, CR8, EFER, APICBase uint64
	InterruptBitmap                         [4]uint64
}

// kvmRegs is struct kvm_regs.
type kvmRegs struct {
	RAX, RBX, RCX, RDX, RSI, RDI, RSP, RBP uint64
	R8, R9, R10, R11, R12, R13, R14, R15   uint64
	RIP, RFLAGS                            uint64
}

// kvmMemory is struct kvm_userspace_memory_region.
type kvmMemory struct {
	Slot, Flags                   uint32
	GuestAddress, Size, UserSpace uint64
}

// runLongMode makes a VM of one processor and runs longModeProgram on it, until ctx ends at the latest.
//
// The processor runs on a thread of its own. When time is up the thread is told to leave the guest; should the
// kernel not let it go even then, it is left to itself, and its memory with it.
func runLongMode(ctx context.Context) error {
	done := make(chan error, 1)
	var v vcpu
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine, and with it any odd state
		v.thread.Store(int64(unix.Gettid()))
		done <- v.probe(ctx)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	for range kickTries {
		v.kick()
		select {
		case <-done:
			return fmt.Errorf("the guest did not finish: %w", ctx.Err())
		case <-time.After(kickEvery):
		}
	}
	return fmt.Errorf("the guest hangs in the kernel: %w", ctx.Err())
}

const (
	kickTries = 20
	kickEvery = 10 * time.Millisecond
)

// vcpu is the probe's processor, as seen by the one who may have to stop it.
type vcpu struct {
	thread  atomic.Int64
	shared  atomic.Pointer[byte] // the page shared with the kernel, once mapped
	running atomic.Bool
}

// kick makes KVM_RUN return: the flag for the next run, the signal for the present one. SIGURG is the signal
// by which Go's own scheduler preempts threads, so it is always handled and harmless.
func (v *vcpu) kick() {
	if p := v.shared.Load(); p != nil {
		*(*byte)(unsafe.Add(unsafe.Pointer(p), immediateExitAt)) = 1
	}
	if v.running.Load() {
		unix.Tgkill(unix.Getpid(), int(v.thread.Load()), unix.SIGURG)
	}
}

// probe sets the VM up and runs it.
func (v *vcpu) probe(ctx context.Context) error {
	dev, err := unix.Open("/dev/kvm", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open /dev/kvm: %w", err)
	}
	defer unix.Close(dev)
	if version, err := ioctl(dev, kvmGetAPIVersion, 0); err != nil || version != kvmAPIVersion {
		return fmt.Errorf("KVM API version %d: %w", version, err)
	}
	vm, err := ioctl(dev, kvmCreateVM, 0)
	if err != nil {
		return fmt.Errorf("create VM: %w", err)
	}
	defer unix.Close(vm)
	memory, err := unix.Mmap(-1, 0, guestMemory, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANON)
	if err != nil {
		return fmt.Errorf("map guest memory: %w", err)
	}
	defer unix.Munmap(memory)
	layOut(memory)
	region := kvmMemory{Size: guestMemory, UserSpace: uint64(uintptr(unsafe.Pointer(&memory[0])))}
	if _, err := ioctlPointer(vm, kvmSetUserMemoryRegion, unsafe.Pointer(&region)); err != nil {
		return fmt.Errorf("give the VM memory: %w", err)
	}
	if _, err := ioctl(vm, kvmSetTSSAddr, tssAddress); err != nil {
		return fmt.Errorf("set the TSS address: %w", err)
	}
	cpu, err := ioctl(vm, kvmCreateVCPU, 0)
	if err != nil {
		return fmt.Errorf("create VCPU: %w", err)
	}
	defer unix.Close(cpu)
	if err := setUpCPU(dev, cpu); err != nil {
		return err
	}
	size, err := ioctl(dev, kvmGetVCPUMmapSize, 0)
	if err != nil {
		return fmt.Errorf("get the size of the shared page: %w", err)
	}
	shared, err := unix.Mmap(cpu, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map the shared page: %w", err)
	}
	v.shared.Store(&shared[0]) // stays mapped: kick may still write to it
	return v.run(ctx, cpu, shared)
}

// run lets the guest run to its result and its halt.
func (v *vcpu) run(ctx context.Context, cpu int, shared []byte) error {
	v.running.Store(true)
	defer v.running.Store(false)
	good := false
	for ctx.Err() == nil {
		if _, err := ioctl(cpu, kvmRun, 0); errors.Is(err, unix.EINTR) {
			continue
		} else if err != nil {
			return fmt.Errorf("run the VCPU: %w", err)
		}
		switch reason := binary.NativeEndian.Uint32(shared[exitReasonAt:]); reason {
		case kvmExitIO:
			port := binary.NativeEndian.Uint16(shared[exitIOPortAt:])
			at := binary.NativeEndian.Uint64(shared[exitIODataAt:])
			if port != resultPort || at >= uint64(len(shared)) || shared[at] != resultGood {
				return fmt.Errorf("the guest computed nonsense (port %#x)", port)
			}
			good = true
		case kvmExitHLT:
			if !good {
				return errors.New("the guest halted without a result")
			}
			return nil
		default:
			return fmt.Errorf("the guest left with exit reason %d", reason)
		}
	}
	return ctx.Err()
}

// layOut writes page tables, segment table and program into the guest's memory.
func layOut(memory []byte) {
	const present, writable, large = 1, 2, 0x80
	put := func(at int, v uint64) { binary.LittleEndian.PutUint64(memory[at:], v) }
	put(guestPML4, guestPDPT|present|writable)
	put(guestPDPT, guestPD|present|writable)
	put(guestPD, 0|present|writable|large) // the first 2 MiB, as they are
	put(guestGDT+codeSelector, 0x00af9b000000ffff)
	put(guestGDT+dataSelector, 0x00cf93000000ffff)
	put(guestGDT+flatSelector, 0x00cf9b000000ffff)
	copy(memory[guestCode:], longModeProgram)
}

// setUpCPU puts the processor where a boot loader leaves it, with every feature that KVM offers.
func setUpCPU(dev, cpu int) error {
	var ids struct {
		n, _    uint32
		entries [maxCPUIDs][10]uint32
	}
	ids.n = maxCPUIDs
	if _, err := ioctlPointer(dev, kvmGetSupportedCPUID, unsafe.Pointer(&ids)); err != nil {
		return fmt.Errorf("get supported CPUID: %w", err)
	}
	if _, err := ioctlPointer(cpu, kvmSetCPUID2, unsafe.Pointer(&ids)); err != nil {
		return fmt.Errorf("set CPUID: %w", err)
	}
	var s kvmSregs
	if _, err := ioctlPointer(cpu, kvmGetSregs, unsafe.Pointer(&s)); err != nil {
		return fmt.Errorf("get registers: %w", err)
	}
	s.CS = kvmSegment{Limit: 0xffffffff, Selector: flatSelector, Type: 11, Present: 1, DB: 1, S: 1, G: 1}
	data := kvmSegment{Limit: 0xffffffff, Selector: dataSelector, Type: 3, Present: 1, DB: 1, S: 1, G: 1}
	s.DS, s.ES, s.FS, s.GS, s.SS = data, data, data, data, data
	s.GDT.Base, s.GDT.Limit = guestGDT, 4*8-1
	s.CR0 |= 1 // protected mode
	if _, err := ioctlPointer(cpu, kvmSetSregs, unsafe.Pointer(&s)); err != nil {
		return fmt.Errorf("set special registers: %w", err)
	}
	r := kvmRegs{RIP: guestCode, RFLAGS: 2, RSP: guestMemory - 16}
	if _, err := ioctlPointer(cpu, kvmSetRegs, unsafe.Pointer(&r)); err != nil {
		return fmt.Errorf("set registers: %w", err)
	}
	return nil
}

func ioctl(fd int, request, arg uintptr) (int, error) {
	n, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, arg)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

func ioctlPointer(fd int, request uintptr, arg unsafe.Pointer) (int, error) {
	n, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(arg))
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
