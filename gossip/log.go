package gossip

import (
	"bytes"
	"context"
	"log"
	"log/slog"
)

// quietLogger is a logger for memberlist. Nearly all that it calls errors and warnings is a peer that does not answer,
// which the table logs once; so they are kept for who looks for them.
func quietLogger(l *slog.Logger) *log.Logger {
	return log.New(quietWriter{l}, "", 0)
}

type quietWriter struct{ log *slog.Logger }

// Write logs one line of memberlist, "[LEVEL] memberlist: text".
func (w quietWriter) Write(line []byte) (int, error) {
	level, text := slog.LevelDebug, bytes.TrimSpace(line)
	if rest, ok := bytes.CutPrefix(text, []byte("[")); ok {
		if name, after, ok := bytes.Cut(rest, []byte("] ")); ok {
			text = bytes.TrimPrefix(after, []byte("memberlist: "))
			if string(name) == "ERR" {
				level = slog.LevelInfo
			}
		}
	}
	w.log.Log(context.Background(), level, string(text), "from", "memberlist")
	return len(line), nil
}
