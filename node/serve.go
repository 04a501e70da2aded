package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/kilonova/kilonova/httpapi"
	"github.com/kilonova/kilonova/httpapi/clusterapi"
	"github.com/kilonova/kilonova/httpapi/compute"
	"github.com/kilonova/kilonova/httpapi/consoleproxy"
	"github.com/kilonova/kilonova/httpapi/identity"
	"github.com/kilonova/kilonova/httpapi/image"
	"github.com/kilonova/kilonova/httpapi/network"
	"github.com/kilonova/kilonova/httpapi/peer"
	"github.com/kilonova/kilonova/httpapi/volume"
	"github.com/kilonova/kilonova/node/peernet"
)

// shutdownTimeout is how long requests under way may take when a node stops.
const shutdownTimeout = 5 * time.Second

// servers are what a node answers on.
type servers struct {
	all    []*http.Server
	failed chan error // holds one
	inside *entrance
	wg     sync.WaitGroup
}

// serve opens the API, the local socket, and the two HTTP protocols of the peer port.
func (n *node) serve() (*servers, error) {
	s := &servers{failed: make(chan error, 1), inside: n.openEntrance()}
	api, err := net.Listen("tcp", n.cfg.at(APIPort))
	if err != nil {
		return nil, fmt.Errorf("open the API: %w", err)
	}
	local, err := n.dir.listenLocal()
	if err != nil {
		api.Close()
		return nil, err
	}
	tokens := identity.NewTokens(n.cfg.TokenLife)
	clusterCfg := n.clusterConfig(tokens)
	rescue := newRecovery(n)
	clusterCfg.Recoverer = rescue
	public := httpapi.NewServer(n.apiHandler(tokens, clusterCfg, s.inside), n.apiTLS(), n.cfg.Log)
	listener := httpapi.LimitListener(httpapi.ShareListener(api, httpapi.APIShare), httpapi.MaxConnections)
	s.start(public, func() error {
		if n.cfg.APITLS {
			return public.ServeTLS(listener, "", "")
		}
		return public.Serve(listener)
	})
	peers := &http.Server{Handler: peer.Router(peer.Services{
		Agreement: n.state, Blobs: n.host.blobs, Consoles: hereConsoles{n.host.consoles}, Inside: hereInside{s.inside.inside},
		Disks: n.host.moves.source, Landings: n.host.moves.destination, Replicas: n.host.replicas.receiver,
		Survivor: rescue, Log: n.cfg.Log,
	}), ReadHeaderTimeout: handshakeGrace, ConnContext: withAsker}
	s.start(peers, func() error { return peers.Serve(n.wire.port.Proto(peernet.ProtoHTTP)) })
	join := &http.Server{
		Handler:           peer.JoinRouter(&admission{backend: n.state, pause: newAttempts()}, registrar{n.state.Local}, n.cfg.Log),
		ReadHeaderTimeout: handshakeGrace, ReadTimeout: joinTimeout, MaxHeaderBytes: 16 << 10,
	}
	strangers := httpapi.LimitListener(httpapi.ShareListener(n.wire.port.Proto(peernet.ProtoJoin), httpapi.JoinShare), maxStrangers)
	s.start(join, func() error { return join.Serve(strangers) })
	socket := &http.Server{Handler: localHandler(clusterCfg), ReadHeaderTimeout: handshakeGrace}
	s.start(socket, func() error { return socket.Serve(local) })
	return s, nil
}

// localHandler is what root reaches over the socket: our own API, and profiles for who looks into a slow node.
func localHandler(c clusterapi.Config) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", clusterapi.LocalRouter(c))
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

// maxStrangers is how many machines that are no members may be connected to the peer port at a time, to join.
const maxStrangers = 512

// handshakeGrace bounds how long a request's header may take on the ports that only peers and root reach.
const handshakeGrace = 10 * time.Second

func (n *node) clusterConfig(tokens *identity.Tokens) clusterapi.Config {
	return clusterapi.Config{
		Backend: n.state, Verifier: tokens, Self: n.id.Node, Version: n.cfg.Version,
		Members: n.members, Minter: mint{n.state}, Placer: n.state.chooser, Keysmith: keysmith{},
	}
}

// apiHandler is everything that clients reach.
func (n *node) apiHandler(tokens *identity.Tokens, cluster clusterapi.Config, guests *entrance) http.Handler {
	return httpapi.New(httpapi.Config{
		Identity: identity.Router(identity.Config{Backend: n.state, Tokens: tokens}),
		Compute: compute.Router(compute.Config{
			Backend: n.state, Verifier: tokens, Console: n.host.consoles, Liveness: n.members, Log: n.cfg.Log,
			Inside: guests.inside, ConsoleURL: consoleproxy.URL, DeferredDelete: n.cfg.Lifecycle.DeferredDelete,
		}),
		Console: guests.consoles,
		Image: image.Router(image.Config{
			Backend: n.state, Verifier: tokens, Node: n.id.Node, Store: n.host.images, Copies: n.host.copies,
		}),
		Network: network.Router(network.Config{Backend: n.state, Verifier: tokens, Liveness: n.members}),
		Volume:  volume.Router(volume.Config{Backend: n.state, Verifier: tokens, Node: n.id.Node, Liveness: n.members}),
		Cluster: clusterapi.Router(cluster),
		Metrics: promhttp.HandlerFor(n.metrics, promhttp.HandlerOpts{}),
		Health:  health{n.state},
		Log:     n.cfg.Log, Observer: n.meters, Crowd: n.crowd(),
	})
}

// apiTLS gives the API its certificate, anew for each connection, so that a renewed one is used at once.
func (n *node) apiTLS() *tls.Config {
	if !n.cfg.APITLS {
		return nil
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			leaf, err := n.apiLeaf.get(n.dir)
			return &leaf, err
		},
	}
}

// start runs a server until close.
func (s *servers) start(server *http.Server, serve func() error) {
	s.all = append(s.all, server)
	s.wg.Go(func() {
		if err := serve(); err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			select {
			case s.failed <- err:
			default:
			}
		}
	})
}

// close lets requests under way finish, for a while, and waits for the servers.
func (s *servers) close() {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(s.inside.close) // a console is no request under way: Shutdown does not know of it
	for _, server := range s.all {
		wg.Go(func() {
			if server.Shutdown(ctx) != nil {
				server.Close()
			}
		})
	}
	wg.Wait()
	s.wg.Wait()
}
