// Package placement decides which node runs an instance.
//
// An Index holds what the choice needs of every node, in a form that makes one decision cost the same whether the
// cluster has a thousand nodes or a hundred thousand. Choose asks it, Claim takes the room at once, so that a burst of
// requests is decided before any of them is committed, and Explain says, node by node, why a request found nothing.
// The package only proposes. Applying the command checks capacity again, because an index may be behind the log.
//
// Promises. The same calls with the same Seed give the same choices: there is no clock and no randomness. A chosen node
// passes every filter and has the room, counting claims. A node that passes is always found when there is one. With at
// most exactNodes open nodes the choice has the best score of all; with more, its score is less than one bucket,
// 1/64 of the range of scores, below the best, as long as the sizes asked for are among those given to SetSizes.
// Other sizes are still never placed wrongly, only sometimes less well. Nodes of like score take turns.
//
// How. Nodes with the same facts (architecture, traits, zone, bridges, ...) are a class, so the filters that look at
// facts run once for each class and kind of request, and are remembered. In each class a node stands in a cell by the
// room that it has (8 levels for each of vCPU, memory and disk, their borders being the sizes of the flavors) and in one
// of 64 buckets by its score. A cell is a bit of a board of 8 words; closing the board under "has at least as much room"
// is a handful of shifts, and gives for every cell one word that says in which buckets something fits. A decision reads
// that word for each class that matches, takes the best bucket, and looks at a few nodes in it. See board.go.
//
// Scores. As in Nova, weighers prefer free vCPU, memory and disk (spread) or the opposite (pack), and avoid I/O and
// memory pressure. Nova scales each weigher over the candidates of one request; here the scale is the largest node of
// the cluster, so that a score changes only when its node does.
//
// Adding a filter. The filters are one list with names (filter.go), and Explain goes over that same list. A filter on
// facts costs nothing at decision time: what it looks at becomes part of a class. What aggregates say of a node is such a
// fact; Follow brings it in. A filter on single nodes is asked about the few that are looked at: Avoid is one, and so are the
// wishes of a request (server group, hints), of which most requests have none. Where wishes name the only nodes that will
// do, just those are looked at.
//
// Concurrency: an Index has one user at a time. Requests are values; what they point to is not written to.
//
// Testing: go test ./placement compares every decision with a plain loop over all nodes (oracle_test.go), and
// go test -bench . ./placement prints the quantiles of single decisions at 1,000 and 100,000 nodes.
package placement
