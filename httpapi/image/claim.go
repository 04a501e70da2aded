package image

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

// uploadTag is the property that says whose upload an image is waiting for: the node, and an ID made for the upload.
const uploadTag = reserved + "upload"

// An upload says every aliveEvery that it goes on; one that did not for staleAfter is taken to be dead. One that sends
// nothing for maxStall is ended.
const (
	aliveEvery = time.Minute
	staleAfter = 5 * time.Minute
	maxStall   = 5 * time.Minute

	maxTries   = 10 // to change a record that others change, too
	quorumWait = 4500 * time.Millisecond
)

// uploadClaim is the right to give an image its bytes. The record has the status saving and the claim's tag for as long as
// the upload goes on. A claim is lost when the image is deleted and when somebody took the upload for dead: its node was
// removed, or restarted, or was not heard of for staleAfter. Who lost it can change nothing any more.
type uploadClaim struct {
	s     *server
	tag   string
	image *cluster.Image // as it was when it was claimed
}

// claim begins an upload. Code Conflict when the image is not waiting for one, Invalid when it lacks its formats.
func (s *server) claim(ctx context.Context, id cluster.ImageID) (*uploadClaim, error) {
	u := &uploadClaim{s: s, tag: string(s.Node) + " " + rest.NewUUID()}
	s.setRunning(u.tag, true)
	err := s.change(ctx, func(view *cluster.View) (cluster.Op, error) {
		i, ok := view.Image(id)
		if !ok {
			return nil, missing(string(id))
		}
		if i.Properties[uploadTag] == u.tag {
			u.image = i
			return nil, nil // an attempt whose outcome was not known
		}
		waits := i.Status == cluster.ImageQueued || i.Status == cluster.ImageSaving && s.abandoned(view, i)
		if !waits {
			return nil, cluster.Errorf(cluster.Conflict, "Image status transition from %s to saving is not allowed", i.Status)
		}
		if err := lacks(i); err != nil {
			return nil, err
		}
		i = i.Clone()
		i.Status = cluster.ImageSaving
		if i.Properties == nil {
			i.Properties = map[string]string{}
		}
		i.Properties[uploadTag] = u.tag
		u.image = i
		return &cluster.PutImage{Image: *i}, nil
	})
	if err != nil {
		u.close()
		return nil, err
	}
	return u, nil
}

// close forgets the claim here. The record stays as it is.
func (u *uploadClaim) close() { u.s.setRunning(u.tag, false) }

func (s *server) setRunning(tag string, running bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if running {
		s.running[tag] = true
	} else {
		delete(s.running, tag)
	}
}

// abandoned tells whether nobody gives an image its bytes any more.
func (s *server) abandoned(view *cluster.View, i *cluster.Image) bool {
	tag := i.Properties[uploadTag]
	node, _, tagged := strings.Cut(tag, " ")
	if captured(view, i.ID) {
		return false
	}
	if tagged && node == string(s.Node) {
		s.mu.Lock()
		defer s.mu.Unlock()
		return !s.running[tag]
	}
	if _, ok := view.Node(cluster.NodeID(node)); tagged && !ok {
		return true
	}
	return s.now().Sub(i.Updated.Std()) > staleAfter
}

// captured tells whether an instance's disk is being saved to the image.
func captured(view *cluster.View, id cluster.ImageID) bool {
	for in := range view.UnderWay() {
		if c := in.Op.Capture; c != nil && c.Image == id {
			return true
		}
	}
	return false
}

// held gives the record if it is still this upload's.
func (u *uploadClaim) held(view *cluster.View) (*cluster.Image, error) {
	i, ok := view.Image(u.image.ID)
	switch {
	case !ok:
		return nil, &rest.HTTPError{Status: http.StatusGone, Code: cluster.NotFound,
			Message: "Image " + string(u.image.ID) + " could not be found after upload. The image may have been deleted during the upload."}
	case i.Properties[uploadTag] != u.tag:
		return nil, cluster.Errorf(cluster.Conflict, "Image %s was given to another upload meanwhile.", i.ID)
	}
	return i.Clone(), nil
}

// finish makes the image active. Code Unavailable when the outcome is not known.
func (u *uploadClaim) finish(ctx context.Context, data *cluster.ImageData) error {
	return u.s.change(ctx, func(view *cluster.View) (cluster.Op, error) {
		if i, ok := view.Image(u.image.ID); ok && i.Status == cluster.ImageActive && i.Data.Root == data.Root {
			return nil, nil // by an attempt whose outcome was not known
		}
		i, err := u.held(view)
		if err != nil {
			return nil, err
		}
		i.Data = data
		i.Data.Nodes = slices.DeleteFunc(i.Data.Nodes, func(id cluster.NodeID) bool { _, ok := view.Node(id); return !ok })
		slices.Sort(i.Data.Nodes)
		i.Status = cluster.ImageActive
		delete(i.Properties, uploadTag)
		return &cluster.PutImage{Image: *i}, nil
	})
}

// giveUp puts the image back to queued, if it is still this upload's.
func (u *uploadClaim) giveUp(ctx context.Context) error {
	return u.s.change(ctx, func(view *cluster.View) (cluster.Op, error) {
		i, err := u.held(view)
		if err != nil || i.Status != cluster.ImageSaving {
			return nil, nil // gone, or somebody else's: nothing to put back
		}
		i.Status = cluster.ImageQueued
		delete(i.Properties, uploadTag)
		return &cluster.PutImage{Image: *i}, nil
	})
}

// keepAlive says that the upload goes on until stop is called, which waits for that. The context ends with the cause
// when the claim is lost.
func (u *uploadClaim) keepAlive(ctx context.Context) (alive context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	var done sync.WaitGroup
	done.Go(func() {
		tick := time.NewTicker(aliveEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			if err := u.touch(ctx); err != nil {
				cancel(err)
				return
			}
		}
	})
	return ctx, func() {
		cancel(nil)
		done.Wait()
	}
}

// touch renews the claim. Only a lost one is an error: without a quorum nobody else can take it either.
func (u *uploadClaim) touch(ctx context.Context) error {
	var lost error
	err := u.s.change(ctx, func(view *cluster.View) (cluster.Op, error) {
		i, err := u.held(view)
		if err != nil {
			lost = err
			return nil, nil
		}
		return &cluster.PutImage{Image: *i}, nil
	})
	if lost == nil && cluster.CodeOf(err) == cluster.NotFound {
		return err
	}
	return lost
}

// change is rest.Update for what goes on beside a request or longer than its view is of use. Code Unavailable when the cluster
// does not answer within quorumWait: clients are promised an answer within 5 seconds.
func (s *server) change(ctx context.Context, decide func(*cluster.View) (cluster.Op, error)) error {
	ctx, cancel := context.WithTimeout(ctx, quorumWait)
	defer cancel()
	for try := 1; ; try++ {
		view, err := s.Backend.Read(ctx)
		if err != nil {
			return err
		}
		op, err := decide(view)
		if err != nil || op == nil {
			return err
		}
		res, err := s.Backend.Propose(ctx, cluster.Command{ID: cluster.RequestID(rest.NewUUID()), Time: cluster.At(s.now()), Op: op})
		if err == nil && res.Err != nil {
			err = res.Err
		}
		if err == nil || cluster.CodeOf(err) != cluster.Stale || try == maxTries {
			return err
		}
	}
}
