//go:build !amd64

package libvirt

import (
	"context"
	"errors"
)

// runLongMode has a program for x86-64 only. Elsewhere KVM is used when the operator says so.
func runLongMode(context.Context) error {
	return errors.New("KVM cannot be proved on this architecture; --virt-type kvm uses it unproved")
}
