package admission

import (
	"context"
	"errors"
	"time"
)

// Class is a kind of request. Each has its own seats, so that none keeps another out.
type Class int

// The classes of requests.
const (
	Read  Class = iota // asks the cluster for what holds now
	Write              // changes something: is proposed to the leader
	Local              // reads what this node has, without asking anybody
	Login              // has a password hashed, maybe
	Bytes              // sends or takes the bytes of an image, for as long as that takes
	Probe              // health and metrics
	classes
)

// String is the class's name, as metrics have it.
func (c Class) String() string {
	return [...]string{"read", "write", "local", "login", "bytes", "probe"}[c]
}

// Limits are what a class may take of a node.
type Limits struct {
	Least, Most int           // seats; there are Most to begin with
	Target      time.Duration // that most requests should take; 0: any, and there are always Most seats
	Waiting     int           // how many may wait in all; half of them in one lane
	Reserve     int           // seats for administrators alone
}

// Defaults are the limits of a node. A write takes as long as an entry of the log takes to be agreed upon, which hundreds share;
// what reads take is mostly processor time.
func Defaults() [classes]Limits {
	return [classes]Limits{
		Read:  {Least: 16, Most: 96, Target: 500 * time.Millisecond, Waiting: 1024, Reserve: 16},
		Write: {Least: 16, Most: 96, Target: 500 * time.Millisecond, Waiting: 1024, Reserve: 16},
		Local: {Least: 16, Most: 64, Target: 500 * time.Millisecond, Waiting: 512, Reserve: 8},
		Login: {Least: 64, Most: 64, Waiting: 256},
		Bytes: {Least: 64, Most: 64, Waiting: 64, Reserve: 8},
		Probe: {Least: 16, Most: 16, Waiting: 64},
	}
}

// Guest is who asks for a seat.
type Guest struct {
	Lane       string // whom it shares its turns with
	Privileged bool   // an administrator
}

// Why somebody is sent away. Nothing of the request was done in either case.
var (
	ErrLane = errors.New("too many requests of this lane are waiting")
	ErrFull = errors.New("more requests are waiting than this node can serve soon")
)

// Control has the seats of all classes.
type Control struct{ halls [classes]*hall }

// New makes a Control with these limits.
func New(limits [classes]Limits) *Control {
	c := &Control{}
	for i, l := range limits {
		c.halls[i] = newHall(l)
	}
	return c
}

// Enter gives a seat, maybe after a while. ErrLane and ErrFull say that it is better to come again later; otherwise the error is that
// of ctx. The seat has to be left.
func (c *Control) Enter(ctx context.Context, class Class, who Guest) (*Seat, error) {
	s := &Seat{hall: c.halls[class], who: who}
	return s, s.Return(ctx)
}

// Stats is what is seen of a class. The counters only grow.
type Stats struct {
	Class    Class
	Seats    int           // that there are now
	Taken    int           // of them, and of the reserve
	Waiting  int           // requests
	Admitted uint64        // requests that were given a seat
	Waited   time.Duration // all that they waited
	Lanes    uint64        // requests that were sent away with ErrLane
	Full     uint64        // requests that were sent away with ErrFull
	GivenUp  uint64        // requests whose client went away while they waited
}

// Stats tells about each class.
func (c *Control) Stats() []Stats {
	all := make([]Stats, 0, classes)
	for i, h := range c.halls {
		s := h.stats()
		s.Class = Class(i)
		all = append(all, s)
	}
	return all
}
