package raftfsm

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"

	"github.com/hashicorp/go-hclog"
)

// logger hands what raft and autopilot say to slog. They say much, at high levels, about what is ordinary life
// for a cluster (a peer that does not answer is an ERROR every few hundred milliseconds), so their errors become
// Info and all else Debug. What an operator must know is logged by this package in its own words.
type logger struct {
	to   *slog.Logger
	name string
	args []any
}

func newLogger(to *slog.Logger) hclog.Logger { return &logger{to: to, name: "raft"} }

func (l *logger) level(level hclog.Level) slog.Level {
	if level >= hclog.Error {
		return slog.LevelInfo
	}
	return slog.LevelDebug
}

// Log implements hclog.Logger.
func (l *logger) Log(level hclog.Level, msg string, args ...any) {
	at := l.level(level)
	if !l.to.Enabled(context.Background(), at) {
		return
	}
	all := append(l.args[:len(l.args):len(l.args)], args...)
	for i, a := range all {
		if f, ok := a.(hclog.Format); ok { // a format and what goes into it, which slog would print one after the other
			all[i] = formatted(f)
		}
	}
	l.to.Log(context.Background(), at, l.name+": "+msg, all...)
}

func formatted(f hclog.Format) string {
	if len(f) == 0 {
		return ""
	}
	if format, ok := f[0].(string); ok {
		return fmt.Sprintf(format, f[1:]...)
	}
	return fmt.Sprint(f...)
}

func (l *logger) Trace(string, ...any)          {}
func (l *logger) Debug(msg string, args ...any) { l.Log(hclog.Debug, msg, args...) }
func (l *logger) Info(msg string, args ...any)  { l.Log(hclog.Info, msg, args...) }
func (l *logger) Warn(msg string, args ...any)  { l.Log(hclog.Warn, msg, args...) }
func (l *logger) Error(msg string, args ...any) { l.Log(hclog.Error, msg, args...) }
func (l *logger) enabled(level hclog.Level) bool {
	return l.to.Enabled(context.Background(), l.level(level))
}
func (l *logger) IsTrace() bool         { return false }
func (l *logger) IsDebug() bool         { return l.enabled(hclog.Debug) }
func (l *logger) IsInfo() bool          { return l.enabled(hclog.Info) }
func (l *logger) IsWarn() bool          { return l.enabled(hclog.Warn) }
func (l *logger) IsError() bool         { return l.enabled(hclog.Error) }
func (l *logger) ImpliedArgs() []any    { return l.args }
func (l *logger) Name() string          { return l.name }
func (l *logger) SetLevel(hclog.Level)  {}
func (l *logger) GetLevel() hclog.Level { return hclog.Debug }

// With implements hclog.Logger.
func (l *logger) With(args ...any) hclog.Logger {
	return &logger{to: l.to, name: l.name, args: append(l.args[:len(l.args):len(l.args)], args...)}
}

// Named implements hclog.Logger.
func (l *logger) Named(name string) hclog.Logger { return l.ResetNamed(l.name + "." + name) }

// ResetNamed implements hclog.Logger.
func (l *logger) ResetNamed(name string) hclog.Logger {
	return &logger{to: l.to, name: name, args: l.args}
}

// StandardLogger implements hclog.Logger.
func (l *logger) StandardLogger(*hclog.StandardLoggerOptions) *log.Logger {
	return slog.NewLogLogger(l.to.Handler(), slog.LevelDebug)
}

// StandardWriter implements hclog.Logger.
func (l *logger) StandardWriter(*hclog.StandardLoggerOptions) io.Writer { return io.Discard }
