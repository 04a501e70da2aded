package libvirt

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// longModeTimeout bounds the proof. A sound host needs some 20 ms for it, even a busy one far less than this.
const longModeTimeout = 2 * time.Second

// Prober finds out whether KVM runs guests here. That /dev/kvm exists proves little: on nested clouds it can
// be there and fail, hang, or emulate so slowly that a guest never comes up. So it runs a guest of its own,
// and gives it little time.
//
// The answer is found once and kept. A Prober is safe for concurrent use; whoever asks first does the work.
type Prober struct {
	test func(context.Context) error

	mu    sync.Mutex
	known bool
	err   error
}

// NewProber gives a prober that knows nothing yet.
func NewProber() *Prober { return &Prober{test: runLongMode} }

// Usable gives nil when KVM ran its test guest, else why it did not. It takes two seconds at most. When ctx
// ends before the answer is known, the error is that of ctx and the next call tries again.
func (p *Prober) Usable(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known {
		return p.err
	}
	limited, cancel := context.WithTimeout(ctx, longModeTimeout)
	defer cancel()
	err := p.test(limited)
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("prove KVM: %w", ctx.Err())
	}
	if err != nil {
		err = fmt.Errorf("KVM is not usable: %w", err)
	}
	p.known, p.err = true, err
	return err
}
