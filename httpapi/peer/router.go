package peer

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strconv"

	"github.com/go-chi/chi/v5"

	"github.com/kilonova/kilonova/cluster"
)

// The most that a request may hold.
const (
	maxCommandBytes = 8 << 20
	maxRequestBytes = 1 << 20
)

// Router serves a node's peers.
func Router(s Services) http.Handler {
	h := &server{s}
	r := chi.NewRouter()
	r.Post("/v1/propose", h.propose)
	r.Post("/v1/barrier", h.barrier)
	r.Post("/v1/lease", h.lease)
	r.Get("/v1/chunks/{hash}", h.chunk)
	r.Post("/v1/blobs/{root}/pull", h.pull)
	r.Get("/v1/instances/{id}/console", h.console)
	h.insideRoutes(r)
	h.recoveryRoutes(r)
	h.moveRoutes(r)
	h.replicaRoutes(r)
	return r
}

// JoinRouter serves machines that are not members: those that want to join, and those that were removed while they were away
// and are let in nowhere, which may ask why. Who asks names a node by its ID, and is told of that one alone.
func JoinRouter(e Enroller, members Registrar, log *slog.Logger) http.Handler {
	r := chi.NewRouter()
	r.Get("/v1/nodes/{id}/standing", func(w http.ResponseWriter, r *http.Request) {
		reply(w, members.Standing(cluster.NodeID(chi.URLParam(r, "id"))))
	})
	r.Post("/v1/join", func(w http.ResponseWriter, r *http.Request) {
		var req JoinRequest
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequestBytes)).Decode(&req); err != nil {
			fail(w, log, cluster.Errorf(cluster.Invalid, "read the join request: %v", err))
			return
		}
		res, err := e.Enrol(r.Context(), req)
		if err != nil {
			fail(w, log, err)
			return
		}
		reply(w, res)
	})
	return r
}

type server struct{ Services }

func (s *server) propose(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxCommandBytes))
	if err != nil {
		fail(w, s.Log, cluster.Errorf(cluster.Invalid, "read the command: %v", err))
		return
	}
	commands, err := cluster.DecodeEntry(body)
	if err != nil || len(commands) != 1 {
		fail(w, s.Log, cluster.Errorf(cluster.Invalid, "read the command: want one in the log's encoding: %v", err))
		return
	}
	res, err := s.Agreement.ProposeHere(r.Context(), commands[0])
	if err != nil {
		fail(w, s.Log, err)
		return
	}
	reply(w, res)
}

type barrierResponse struct {
	Index uint64 `json:"index"`
}

func (s *server) barrier(w http.ResponseWriter, r *http.Request) {
	index, err := s.Agreement.BarrierHere(r.Context())
	if err != nil {
		fail(w, s.Log, err)
		return
	}
	reply(w, barrierResponse{index})
}

// lease renews the lease of the node that asks, and of no other: it is known by its certificate.
func (s *server) lease(w http.ResponseWriter, r *http.Request) {
	grant, err := s.Agreement.RenewHere(r.Context(), asker(r))
	if err != nil {
		fail(w, s.Log, err)
		return
	}
	reply(w, grant)
}

func (s *server) chunk(w http.ResponseWriter, r *http.Request) {
	h, err := parseHash(chi.URLParam(r, "hash"))
	if err != nil {
		fail(w, s.Log, err)
		return
	}
	c, err := s.Blobs.Chunk(r.Context(), h)
	if err != nil {
		fail(w, s.Log, err)
		return
	}
	s.stream(w, c)
}

func (s *server) console(w http.ResponseWriter, r *http.Request) {
	limit, err := strconv.ParseInt(r.URL.Query().Get("max"), 10, 64)
	if err != nil || limit < 0 {
		fail(w, s.Log, cluster.Errorf(cluster.Invalid, "max is not a number of bytes"))
		return
	}
	c, err := s.Consoles.Console(r.Context(), cluster.InstanceID(chi.URLParam(r, "id")), limit)
	if err != nil {
		fail(w, s.Log, err)
		return
	}
	s.stream(w, c)
}

func (s *server) stream(w http.ResponseWriter, c io.ReadCloser) {
	defer c.Close()
	w.Header().Set("Content-Type", "application/octet-stream")
	if _, err := io.Copy(w, c); err != nil {
		// The status is gone already. Cutting the connection tells the peer that this is not the end.
		panic(http.ErrAbortHandler)
	}
}

func parseHash(text string) (cluster.Hash, error) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(cluster.Hash{}) {
		return cluster.Hash{}, cluster.Errorf(cluster.Invalid, "%q is not a SHA-256 digest", text)
	}
	return cluster.Hash(b), nil
}

func reply(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(body) // an error here is the peer's connection, which it notices itself
}

// fail sends a refusal. Peers read the code from the body; the status is for people with curl.
func fail(w http.ResponseWriter, log *slog.Logger, err error) {
	if errors.Is(err, ErrNotLeader) {
		w.WriteHeader(http.StatusMisdirectedRequest)
		return
	}
	var refusal *cluster.Error
	if !errors.As(err, &refusal) {
		log.Warn("answer a peer", "err", err)
		refusal = cluster.Errorf(cluster.Internal, "%v", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusUnprocessableEntity)
	json.NewEncoder(w).Encode(refusal)
}
