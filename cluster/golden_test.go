package cluster

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/fxamacker/cbor/v2"
)

var update = flag.Bool("update", false, "write golden files for encodings that have none yet")

// filler sets every field of a value to something that is not zero, always the same.
type filler struct{ n int64 }

func (f *filler) fill(v reflect.Value) {
	f.n++
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprintf("s%d", f.n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(f.n)
	case reflect.Uint8:
		v.SetUint(uint64(f.n % 256))
	case reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(f.n))
	case reflect.Float64:
		v.SetFloat(float64(f.n) + 0.5)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		f.fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		f.fill(v.Index(0))
	case reflect.Array:
		for i := range v.Len() {
			f.fill(v.Index(i))
		}
	case reflect.Map:
		k, e := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		f.fill(k)
		f.fill(e)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(k, e)
	case reflect.Interface:
		v.Set(reflect.ValueOf("any"))
	case reflect.Struct:
		for i := range v.NumField() {
			f.fill(v.Field(i))
		}
	default:
		panic("no filling for " + v.Kind().String())
	}
}

// full gives a command of a kind with every field set.
func full(k Kind) Command {
	c := Command{Op: newOp[k]()}
	f := &filler{}
	f.fill(reflect.ValueOf(&c.ID).Elem())
	f.fill(reflect.ValueOf(&c.Digest).Elem())
	f.fill(reflect.ValueOf(&c.Time).Elem())
	f.fill(reflect.ValueOf(c.Op).Elem())
	return c
}

func kinds() []Kind {
	var all []Kind
	for k := range Kind(len(newOp)) {
		if k.Known() {
			all = append(all, k)
		}
	}
	return all
}

// The bytes in testdata were written by this build or an older one. Each must still decode, and encode to the same
// bytes again: a field that was renamed, removed or given another type fails here. Present fields must be in a golden
// file too: after adding one (with omitempty, so that the old files hold), run the test with -update.
func TestEncoding_OfEveryKindIsFixed(t *testing.T) {
	for _, k := range kinds() {
		t.Run(k.String(), func(t *testing.T) {
			now, err := EncodeCommand(full(k))
			if err != nil {
				t.Fatal(err)
			}
			files, err := filepath.Glob(filepath.Join("testdata", "commands", k.String()+"-*.cbor"))
			if err != nil {
				t.Fatal(err)
			}
			complete := false
			for _, name := range files {
				golden, err := os.ReadFile(name)
				if err != nil {
					t.Fatal(err)
				}
				c, err := DecodeCommand(golden)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if again, err := EncodeCommand(c); err != nil || !bytes.Equal(again, golden) {
					t.Fatalf("%s: decoded and encoded again it is another (%v)", name, err)
				}
				complete = complete || bytes.Equal(golden, now)
			}
			if complete {
				return
			}
			if !*update {
				t.Fatalf("no golden file holds every field of %s: if one was added, run go test -update", k)
			}
			name := filepath.Join("testdata", "commands", fmt.Sprintf("%s-%d", k, len(files)+1))
			text, err := cbor.Diagnose(now)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name+".cbor", now, 0o644); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name+".diag", []byte(text+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// A kind's number is on every disk. It stands for the same op for ever.
func TestKinds_EachMakesItsOwnOp(t *testing.T) {
	seen := make(map[reflect.Type]Kind)
	for _, k := range kinds() {
		op := newOp[k]()
		if op.Kind() != k {
			t.Errorf("kind %d makes %T, whose kind is %d", k, op, op.Kind())
		}
		if other, ok := seen[reflect.TypeOf(op)]; ok {
			t.Errorf("%T is made by kinds %d and %d", op, other, k)
		}
		seen[reflect.TypeOf(op)] = k
	}
	if got := Kind(9999).String(); got != "Kind(9999)" {
		t.Errorf("an unknown kind is called %s", got)
	}
}

// Every op that can be decoded has a case in the switch. An empty one is refused or done, never unknown.
func TestApply_KnowsEveryKind(t *testing.T) {
	for _, k := range kinds() {
		for _, c := range []Command{{Op: newOp[k]()}, full(k)} {
			if _, err := NewState().Apply(1, []Command{c}); err != nil {
				t.Errorf("%s: %v", k, err)
			}
		}
	}
}

func TestDecodeEntry_GivesWhatWasEncoded(t *testing.T) {
	var in []Command
	for _, k := range kinds() {
		in = append(in, full(k))
	}
	b, err := EncodeEntry(in)
	if err != nil {
		t.Fatal(err)
	}
	out, err := DecodeEntry(b)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(in, out) {
		t.Fatal("decoded is not what was encoded")
	}
}

type strangeOp struct{}

func (strangeOp) Kind() Kind { return 9999 }

// What a newer build wrote, or a disk made up, must never be taken for something else.
func TestDecodeEntry_RefusesWhatItDoesNotKnow(t *testing.T) {
	raw := func(x any) []byte { return must(encoding.Marshal(x)) }
	entry := func(c any) []byte {
		return raw(map[string]any{"version": entryVersion, "commands": []any{c}})
	}
	good, err := EncodeEntry([]Command{full(KindDeletePort)})
	if err != nil {
		t.Fatal(err)
	}
	for name, x := range map[string]struct {
		b    []byte
		want error
	}{
		"nothing":         {nil, ErrCorrupt},
		"cut short":       {good[:len(good)-1], ErrCorrupt},
		"trailing byte":   {append(bytes.Clone(good), 0), ErrCorrupt},
		"not a map":       {raw("entry"), ErrCorrupt},
		"newer layout":    {raw(map[string]any{"version": 2, "commands": []any{}}), ErrUnknownCommand},
		"no commands":     {raw(map[string]any{"version": entryVersion, "commands": []any{}}), ErrCorrupt},
		"unknown kind":    {entry(map[string]any{"kind": 9999, "op": map[string]any{}}), ErrUnknownCommand},
		"kind 0":          {entry(map[string]any{"kind": 0, "op": map[string]any{}}), ErrUnknownCommand},
		"unknown field":   {entry(map[string]any{"kind": KindDeletePort, "op": map[string]any{"id": "p", "new": 1}}), ErrUnknownCommand},
		"no op":           {entry(map[string]any{"kind": KindDeletePort}), ErrCorrupt},
		"null op":         {entry(map[string]any{"kind": KindDeletePort, "op": nil}), ErrCorrupt},
		"wrong type":      {entry(map[string]any{"kind": KindDeletePort, "op": map[string]any{"id": 7}}), ErrCorrupt},
		"short digest":    {entry(map[string]any{"kind": KindDeletePort, "digest": []byte{1}, "op": map[string]any{}}), ErrCorrupt},
		"too deep":        {bytes.Repeat([]byte{0x81}, 10_000), ErrCorrupt},
		"indefinite text": {[]byte{0x7f, 0xff}, ErrCorrupt},
	} {
		if _, err := DecodeEntry(x.b); !errors.Is(err, x.want) {
			t.Errorf("%s: %v, want %v", name, err, x.want)
		}
	}
	for _, c := range []Command{{}, {Op: strangeOp{}}} {
		if _, err := EncodeCommand(c); !errors.Is(err, ErrUnknownCommand) {
			t.Errorf("encode %T: %v", c.Op, err)
		}
		if _, err := NewState().Apply(1, []Command{c}); !errors.Is(err, ErrUnknownCommand) {
			t.Errorf("apply %T: %v", c.Op, err)
		}
	}
}

// One command may be larger than what is coalesced; several together may not.
func TestJoinEntry_BoundsWhatGoesTogether(t *testing.T) {
	big := func(n int) []byte {
		b, err := EncodeCommand(Command{Op: &PutProject{Project: Project{Description: string(make([]byte, n))}}})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	if _, err := JoinEntry([][]byte{big(MaxEntryBytes + 1)}); err != nil {
		t.Errorf("one large command: %v", err)
	}
	if _, err := JoinEntry([][]byte{big(MaxEntryBytes), big(10)}); err == nil {
		t.Error("two commands that are too large together are joined")
	}
	if _, err := JoinEntry(nil); err == nil {
		t.Error("an entry without commands is made")
	}
	_, err := EncodeCommand(Command{Op: &PutProject{Project: Project{Description: string(make([]byte, MaxCommandBytes))}}})
	if CodeOf(err) != TooLarge {
		t.Errorf("a command over the limit: %v", err)
	}
	deep := any("x")
	for range 100 {
		deep = map[string]any{"a": deep}
	}
	_, err = EncodeCommand(Command{Op: &PutProject{Project: Project{Options: map[string]any{"a": deep}}}})
	if CodeOf(err) != Invalid {
		t.Errorf("a command nested 100 deep: %v", err)
	}
}

func TestDecodeResult_GivesWhatWasEncoded(t *testing.T) {
	in := Result{Index: 7, Err: Errorf(OverQuota, "no"), IDs: []string{"a", "b"}}
	b, err := EncodeResult(in)
	if err != nil {
		t.Fatal(err)
	}
	out, err := DecodeResult(b)
	if err != nil || !reflect.DeepEqual(in, out) {
		t.Fatalf("got %+v, %v", out, err)
	}
	if _, err := DecodeResult(b[1:]); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("garbage: %v", err)
	}
}

// A text that is not UTF-8 must never stop a replica: it decodes, and Apply refuses it.
func TestDecodeEntry_TakesTextThatIsNotUTF8(t *testing.T) {
	b, err := EncodeEntry([]Command{{Op: &PutProject{Project: Project{ID: "p", Name: "\xff"}}}})
	if err != nil {
		t.Fatal(err)
	}
	c, err := DecodeEntry(b)
	if err != nil {
		t.Fatal(err)
	}
	r, err := NewState().Apply(1, c)
	if err != nil || r[0].Err == nil || r[0].Err.Code != Invalid {
		t.Fatalf("got %+v, %v", r, err)
	}
}

// Whatever the bytes are, decoding gives commands or a typed error. What decodes can be applied and encodes again.
func FuzzDecodeEntry(f *testing.F) {
	for _, k := range kinds() {
		b, err := EncodeEntry([]Command{full(k)})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte{0xa2, 0x67})
	f.Fuzz(func(t *testing.T, b []byte) {
		commands, err := DecodeEntry(b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrUnknownCommand) {
				t.Fatalf("untyped error: %v", err)
			}
			return
		}
		if _, err := NewState().Apply(1, commands); err != nil {
			t.Fatalf("what decodes cannot be applied: %v", err)
		}
		again, err := EncodeEntry(commands)
		if err != nil {
			return // larger than what may be written
		}
		if _, err := DecodeEntry(again); err != nil {
			t.Fatalf("what was encoded cannot be decoded: %v", err)
		}
	})
}
