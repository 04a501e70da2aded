// Package admission decides which requests a node serves now, which wait, and which are sent away.
//
// A node can work on so many requests at once; more would only make all of them slower until nobody is answered in time. So
// each class of requests (reads, writes, logins, image bytes, ...) has seats. Who finds none waits in a short queue, and who
// cannot be served soon is told so at once, before anything of the request was done.
//
// What it promises:
//
//   - The number of seats follows the measured time that requests take: it shrinks when most of them take longer than the
//     class's target and grows again while somebody waits and they do not.
//   - Every queue is bounded in length and in time. A queue that has stood for longer than standing is no burst that will
//     pass: whoever joins it then has a short patience, so that those who are served have not waited for long.
//   - Each lane (a project, or the address of strangers) has a queue of its own. Seats go to the lanes in turn, no lane
//     has more than three quarters of the seats, and when all is full the longest queue gives way. A lane that asks for too
//     much is told so (ErrLane); others feel little of it.
//   - Administrators have a few seats more that nobody else takes.
//
// A seat is held only while the node works for a request, not while a client is slow to send or to take: see Seat.Aside
// and Seat.Leave.
//
// What peers ask of each other comes to another port and knows no seats: what agreement and leases need never waits here.
//
// Concurrency: everything is safe for concurrent use; a Seat's Aside may race with its Leave. There are no goroutines.
//
// Testing: in virtual time, with testing/synctest.
package admission
