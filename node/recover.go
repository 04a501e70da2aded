package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/clusterapi"
	"github.com/kilonova/kilonova/httpapi/peer"
	"github.com/kilonova/kilonova/raftfsm"
)

// recoverFile is the order to recover that a node gives itself before it starts again.
const recoverFile = "recover.json"

const (
	// surveyTimeout bounds the question to each node how much of the log it has. One that takes longer counts as silent.
	surveyTimeout = 3 * time.Second

	// yieldFor is how long a node that yielded begins no recovery of its own.
	yieldFor = 10 * time.Minute
)

// errRecovering ends a node that starts again to recover.
var errRecovering = errors.New("this node starts again to recover the cluster")

// recoveryOrder is what is carried out before the replica is opened.
type recoveryOrder struct {
	Op   cluster.RecoverCluster `json:"op"`
	Time cluster.Time           `json:"time"`
	Term uint64                 `json:"term"` // the newest that a survivor knew of
}

// recovery serves an operator who recovers the cluster on this node, and the other survivors.
type recovery struct {
	self  cluster.NodeID
	dir   *dataDir
	state *agreement
	end   func(error) // ends this node

	mu      sync.Mutex
	yielded cluster.NodeID // to whom
	until   time.Time
}

func newRecovery(n *node) *recovery {
	return &recovery{self: n.id.Node, dir: n.dir, state: n.state, end: n.fail}
}

// Survey implements peer.Survivor.
func (r *recovery) Survey() peer.Survey {
	leader, _ := r.state.raft.Leader()
	return peer.Survey{LogEnd: r.state.raft.LogEnd(), Leader: leader.ID}
}

// Yield implements peer.Survivor.
func (r *recovery) Yield(to cluster.NodeID) error {
	if leader := r.Survey().Leader; leader != "" {
		return cluster.Errorf(cluster.Conflict, "Node %s leads: there is nothing to be recovered", leader)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.yielded != "" && r.yielded != to && time.Now().Before(r.until) {
		return cluster.Errorf(cluster.Conflict, "Node %s recovers the cluster already", r.yielded)
	}
	r.yielded, r.until = to, time.Now().Add(yieldFor)
	return nil
}

// PlanRecovery implements clusterapi.Recoverer.
func (r *recovery) PlanRecovery(ctx context.Context) (clusterapi.RecoveryPlan, error) {
	return planRecovery(r.survey(ctx))
}

// Recover implements clusterapi.Recoverer. Every survivor that answers has to yield first, so two operators at two nodes do not make two
// clusters.
func (r *recovery) Recover(ctx context.Context) (clusterapi.RecoveryPlan, error) {
	scene := r.survey(ctx)
	plan, err := planRecovery(scene)
	if err != nil {
		return plan, err
	}
	if err := r.Yield(r.self); err != nil {
		return plan, err
	}
	order := recoveryOrder{Op: cluster.RecoverCluster{ID: uuid.NewString(), Leader: r.self}, Time: cluster.At(time.Now()), Term: scene.own.Term}
	for _, o := range plan.Others {
		if o.Lost {
			order.Op.Lost = append(order.Op.Lost, o.ID)
		}
		if !o.Answers {
			continue
		}
		order.Term = max(order.Term, o.Log.Term)
		bounded, cancel := context.WithTimeout(ctx, surveyTimeout)
		err := r.state.peers.Yield(bounded, o.ID)
		cancel()
		if err != nil {
			return plan, cluster.Errorf(cluster.Conflict, "Node %s does not agree to the recovery: %v", o.Name, err)
		}
	}
	b, err := json.Marshal(order)
	if err != nil {
		return plan, err
	}
	if err := writeFile(r.dir.file(recoverFile), append(b, '\n')); err != nil {
		return plan, fmt.Errorf("order the recovery: %w", err)
	}
	r.end(errRecovering)
	return plan, nil
}

// survey asks every other node, all at once. Who does not answer is given up, so nobody is asked over a connection that may be dead.
func (r *recovery) survey(ctx context.Context) scene {
	r.state.peers.Refresh()
	view := r.state.Local()
	s := scene{own: r.Survey(), voters: map[cluster.NodeID]bool{}, answers: map[cluster.NodeID]peer.Survey{}}
	if n, ok := view.Node(r.self); ok {
		s.self = n
	}
	for _, m := range r.state.raft.Members() {
		if m.Voter {
			s.voters[m.ID] = true
		}
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for n := range view.Nodes() {
		if n.ID == r.self || view.WasRemoved(n.ID) {
			continue
		}
		s.others = append(s.others, n)
		wg.Go(func() {
			bounded, cancel := context.WithTimeout(ctx, surveyTimeout)
			defer cancel()
			answer, err := r.state.peers.Survey(bounded, n.ID)
			if err != nil {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			s.answers[n.ID] = answer
		})
	}
	wg.Wait()
	return s
}

// scene is what a survivor finds.
type scene struct {
	self    *cluster.Node
	own     peer.Survey
	voters  map[cluster.NodeID]bool
	others  []*cluster.Node
	answers map[cluster.NodeID]peer.Survey // of those that answer
}

// planRecovery decides whether the cluster may be recovered on this node, and what becomes of the others. Voters that are silent are given
// up: with one another they might still be a quorum. A silent node without a vote may come back.
func planRecovery(s scene) (clusterapi.RecoveryPlan, error) {
	var plan clusterapi.RecoveryPlan
	if s.self == nil {
		return plan, cluster.Errorf(cluster.Conflict, "This node has nothing of the cluster: recover it on another one")
	}
	plan.Node, plan.Log = s.self.Name, s.own.LogEnd
	if s.own.Leader != "" {
		return plan, cluster.Errorf(cluster.Conflict, "Node %s leads: there is nothing to be recovered", s.own.Leader)
	}
	voting := 0
	if s.voters[s.self.ID] {
		voting++
	}
	var best *cluster.Node
	most := s.own.LogEnd
	for _, n := range s.others {
		answer, ok := s.answers[n.ID]
		voter := s.voters[n.ID]
		plan.Others = append(plan.Others, clusterapi.RecoveryOther{
			ID: n.ID, Name: n.Name, Address: n.Address, Voter: voter, Answers: ok, Lost: voter && !ok, Log: answer.LogEnd,
		})
		if !ok {
			continue
		}
		if answer.Leader != "" {
			return plan, cluster.Errorf(cluster.Conflict, "Node %s follows %s, which leads: there is nothing to be recovered", n.Name, answer.Leader)
		}
		if voter {
			voting++
		}
		if answer.Beyond(most) {
			best, most = n, answer.LogEnd
		}
	}
	if voting > len(s.voters)/2 {
		return plan, cluster.Errorf(cluster.Conflict, "%d of %d voters answer, which is a quorum: they elect a leader by themselves", voting, len(s.voters))
	}
	if best != nil {
		return plan, cluster.Errorf(cluster.Conflict, "Node %s (%s) has more of the log, and what was acknowledged may be in that: recover the cluster there", best.Name, best.Address)
	}
	return plan, nil
}

// carryOut recovers the replica when that was ordered. The order is crossed out last, so that a crash in the middle only has it done again.
func (d *dataDir) carryOut(cfg *Config, id enrolment) error {
	b, err := os.ReadFile(d.file(recoverFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the order to recover: %w", err)
	}
	var o recoveryOrder
	if err := json.Unmarshal(b, &o); err != nil {
		return fmt.Errorf("read the order to recover in %s (it is damaged; remove it, and say `kilonova node recover` again): %w", d.file(recoverFile), err)
	}
	raft := raftfsm.Config{ID: id.Node, Addr: hostPort(id.Bind, PeerPort), Dir: d.file(raftDir), Log: cfg.Log}
	if err := raftfsm.Recover(raft, cluster.Command{Time: o.Time, Op: &o.Op}, o.Term); err != nil {
		return err
	}
	cfg.Log.Warn("recovered the cluster: this node goes on with its own log, as the only voter", "recovery", o.Op.ID, "given_up", o.Op.Lost)
	if err := os.Remove(d.file(recoverFile)); err != nil {
		return fmt.Errorf("cross out the order to recover: %w", err)
	}
	return nil
}
