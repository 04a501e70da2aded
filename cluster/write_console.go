package cluster

import "github.com/tidwall/btree"

// consoleTables hold the console tokens, and indexes of them whose entries are keys of the first.
type consoleTables struct {
	consoleTokens btree.Map[string, *ConsoleToken] // hash in hexadecimal digits
	consoleUntil  btree.Map[string, string]        // time of expiry, hash
	consoleOf     btree.Map[string, string]        // instance, time of creation, hash
}

func (c *consoleTables) share(t *consoleTables) {
	c.consoleTokens = *t.consoleTokens.Copy()
	c.consoleUntil = *t.consoleUntil.Copy()
	c.consoleOf = *t.consoleOf.Copy()
}

func consoleKey(h Hash) string { return h.String() }

func consoleUntilKey(t *ConsoleToken) string {
	return key(sortable(uint64(t.Expires)), consoleKey(t.Hash))
}

func consoleOfKey(t *ConsoleToken) string {
	return key(string(t.Instance), sortable(uint64(t.Created)), consoleKey(t.Hash))
}

// putConsoleToken stores a token. Nothing but Used ever changes.
func (s *State) putConsoleToken(t *ConsoleToken) {
	k := consoleKey(t.Hash)
	s.t.consoleTokens.Set(k, t)
	s.t.consoleUntil.Set(consoleUntilKey(t), k)
	s.t.consoleOf.Set(consoleOfKey(t), k)
}

func (s *State) dropConsoleToken(t *ConsoleToken) {
	s.t.consoleTokens.Delete(consoleKey(t.Hash))
	s.t.consoleUntil.Delete(consoleUntilKey(t))
	s.t.consoleOf.Delete(consoleOfKey(t))
}
