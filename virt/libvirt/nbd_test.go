package libvirt

import (
	"encoding/binary"
	"errors"
	"testing"
)

// said is what a server says, up to its first reply.
func said(replies ...[]byte) []byte {
	b := append([]byte(nbdGreeting), 0, 3)
	option := func(option, kind uint32, data string) {
		b = binary.BigEndian.AppendUint64(b, nbdOption)
		b = binary.BigEndian.AppendUint32(b, option)
		b = binary.BigEndian.AppendUint32(b, kind)
		b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
		b = append(b, data...)
	}
	option(8, nbdAck, "")
	option(10, 1<<31|1, "no such context")
	option(nbdGo, 3, "the size of the export")
	option(nbdGo, nbdAck, "")
	for _, r := range replies {
		b = append(b, r...)
	}
	return b
}

func simpleReply(code uint32) []byte {
	b := binary.BigEndian.AppendUint32(nil, nbdSimple)
	b = binary.BigEndian.AppendUint32(b, code)
	return append(b, "a handle"...)
}

func chunk(kind uint16, data string) []byte {
	b := binary.BigEndian.AppendUint32(nil, nbdStructured)
	b = binary.BigEndian.AppendUint16(b, 1)
	b = binary.BigEndian.AppendUint16(b, kind)
	b = append(b, "a handle"...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
	return append(b, data...)
}

// A server says this and that. An error among its replies is found, wherever the stream is cut, and what only looks like one is not.
func TestNBDAnswers_FindTheFirstError(t *testing.T) {
	for name, c := range map[string]struct {
		stream []byte
		bad    bool
	}{
		"nothing":                {nil, false},
		"replies":                {said(simpleReply(0), chunk(1, "data"), chunk(0, ""), simpleReply(0)), false},
		"data like an error":     {said(chunk(1, string(simpleReply(28))), simpleReply(0)), false},
		"no space":               {said(simpleReply(0), simpleReply(28)), true},
		"an error after data":    {said(chunk(1, "data"), chunk(nbdErrorChunk|1, "oh")), true},
		"another protocol":       {[]byte("HTTP/1.1 200 OK\r\nServer: any\r\n"), true},
		"a reply out of place":   {append(said(), "something else"...), true},
		"an option that is none": {append([]byte(nbdGreeting+"\x00\x03"), make([]byte, optionBytes)...), true},
	} {
		for _, size := range []int{1, 3, len(c.stream) + 1} {
			var a nbdAnswers
			var err error
			for at := 0; at < len(c.stream); at += size {
				err = a.take(c.stream[at:min(at+size, len(c.stream))])
			}
			if (err != nil) != c.bad {
				t.Errorf("%s, %d bytes at a time: %v", name, size, err)
			}
			if name == "no space" && !errors.Is(err, errAnswered) {
				t.Errorf("no space is taken for %v", err)
			}
		}
	}
}

// Whatever a server says is read to its end, and means the same in any pieces.
func FuzzNBDAnswers(f *testing.F) {
	f.Add(said(simpleReply(0), chunk(1, "data")), 7)
	f.Add(said(simpleReply(5)), 1)
	f.Add(append([]byte(nbdGreeting), 0, 3), 2)
	f.Fuzz(func(t *testing.T, stream []byte, size int) {
		size = max(1, size%64)
		var whole, pieces nbdAnswers
		want := whole.take(stream)
		var got error
		for at := 0; at < len(stream); at += size {
			got = pieces.take(stream[at:min(at+size, len(stream))])
		}
		if (want == nil) != (got == nil) {
			t.Fatalf("whole it is %v, in pieces of %d %v", want, size, got)
		}
	})
}

// QEMU's monitor answers, refuses, or says what it never should.
func TestReadQMP_TellsAnswersFromRefusals(t *testing.T) {
	var jobs []struct{ ID string }
	if err := readQMP(`{"return":[{"id":"a"}],"id":"libvirt-1"}`, &jobs); err != nil || len(jobs) != 1 || jobs[0].ID != "a" {
		t.Errorf("an answer is %v, %v", jobs, err)
	}
	for _, text := range []string{``, `{}`, `[]`, `{"return":7}`, `{"error":{"class":"GenericError","desc":"no"}}`} {
		if err := readQMP(text, &jobs); err == nil {
			t.Errorf("%q is an answer", text)
		}
	}
}
