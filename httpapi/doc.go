// Package httpapi puts the services of a node behind one address.
//
// Each service is a handler of its own (packages identity, compute, image, network, clusterapi), mounted under its path.
// Around each stand a request ID, an access log, admission, a guard against panics and the metrics, so that services bring only
// their routes. Server bounds what clients can take: header sizes, times, connections and streams; rest.Crowd, how many requests
// are worked on at a time.
//
// Besides there are /livez, which answers as long as the process does (restart it when it does not), and /readyz, also called
// /healthz, which is 503 while no quorum answers this node (send clients to another one).
//
// What it relies on: nothing of the cluster. It only routes.
//
// Concurrency: New is called once; what it returns is safe for concurrent use.
//
// Testing: httptest with handlers that say their names.
package httpapi
