package sim

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
)

// The parts of the RFB protocol (RFC 6143) that a viewer needs to show a picture.
const (
	rfbVersion      = "RFB 003.008\n"
	rfbNoSecurity   = 1
	rfbWidth        = 320 // pixels
	rfbHeight       = 200
	rfbPixelBits    = 32
	maxRFBClipboard = 1 << 20 // bytes that a viewer may send at once

	rfbSetPixelFormat = 0
	rfbSetEncodings   = 2
	rfbUpdateRequest  = 3
	rfbKeyEvent       = 4
	rfbPointerEvent   = 5
	rfbClipboard      = 6
)

// rfb is a viewer's connection. It shows one colour, which every key changes.
type rfb struct {
	in      *bufio.Reader
	out     net.Conn
	pixel   int  // bytes
	shade   byte // of the whole picture
	shown   bool // the viewer has the present picture
	waiting bool // it wants the next one
}

// serveRFB shows the screen of a guest until the viewer goes.
func serveRFB(c net.Conn, name string) error {
	v := &rfb{in: bufio.NewReader(c), out: c, pixel: rfbPixelBits / 8, shade: 0x40}
	if err := v.greet(name); err != nil {
		return err
	}
	for {
		kind, err := v.in.ReadByte()
		if err != nil {
			return err
		}
		if err := v.hear(kind); err != nil {
			return err
		}
		if !v.waiting || v.shown {
			continue
		}
		if err := v.show(); err != nil {
			return err
		}
	}
}

// greet makes the handshake: version, security, and what the screen is.
func (v *rfb) greet(name string) error {
	if _, err := io.WriteString(v.out, rfbVersion); err != nil {
		return err
	}
	version, err := v.take(len(rfbVersion))
	if err != nil {
		return err
	}
	if string(version) != rfbVersion {
		return fmt.Errorf("the viewer speaks %q", version)
	}
	if _, err := v.out.Write([]byte{1, rfbNoSecurity}); err != nil {
		return err
	}
	if chosen, err := v.in.ReadByte(); err != nil || chosen != rfbNoSecurity {
		return errors.Join(err, errors.New("the viewer chose a security type that was not offered"))
	}
	if _, err := v.out.Write([]byte{0, 0, 0, 0}); err != nil { // accepted
		return err
	}
	if _, err := v.in.ReadByte(); err != nil { // whether others may look as well: they may
		return err
	}
	be := binary.BigEndian
	hello := be.AppendUint16(be.AppendUint16(nil, rfbWidth), rfbHeight)
	hello = append(hello, rfbPixelBits, 24, 0, 1) // depth, little-endian, true colour
	for range 3 {
		hello = be.AppendUint16(hello, 255)
	}
	hello = append(hello, 16, 8, 0, 0, 0, 0) // shifts of red, green and blue, padding
	hello = append(be.AppendUint32(hello, uint32(len(name))), name...)
	_, err = v.out.Write(hello)
	return err
}

func (v *rfb) take(n int) ([]byte, error) {
	b := make([]byte, n)
	_, err := io.ReadFull(v.in, b)
	return b, err
}

// hear takes one message of the viewer.
func (v *rfb) hear(kind byte) error {
	length, ok := map[byte]int{rfbSetPixelFormat: 19, rfbSetEncodings: 3, rfbUpdateRequest: 9, rfbKeyEvent: 7, rfbPointerEvent: 5, rfbClipboard: 7}[kind]
	if !ok {
		return fmt.Errorf("a message of kind %d is not known", kind)
	}
	b, err := v.take(length)
	if err != nil {
		return err
	}
	switch kind {
	case rfbSetPixelFormat:
		if b[3] != 8 && b[3] != 16 && b[3] != 32 {
			return fmt.Errorf("pixels of %d bits", b[3])
		}
		v.pixel = int(b[3]) / 8
	case rfbSetEncodings: // every viewer has to know the raw one
		_, err = v.in.Discard(4 * int(binary.BigEndian.Uint16(b[1:])))
	case rfbUpdateRequest:
		v.waiting = true
		v.shown = v.shown && b[0] != 0
	case rfbKeyEvent:
		if b[0] != 0 {
			v.shade, v.shown = v.shade+0x20, false
		}
	case rfbClipboard:
		n := binary.BigEndian.Uint32(b[3:])
		if n > maxRFBClipboard {
			return fmt.Errorf("a clipboard of %d bytes", n)
		}
		_, err = v.in.Discard(int(n))
	}
	return err
}

// show sends the whole picture, as one rectangle in the raw encoding.
func (v *rfb) show() error {
	be := binary.BigEndian
	msg := []byte{0, 0, 0, 1, 0, 0, 0, 0} // an update of one rectangle, at the upper left corner
	msg = be.AppendUint16(be.AppendUint16(msg, rfbWidth), rfbHeight)
	msg = append(msg, 0, 0, 0, 0)
	head := len(msg)
	msg = append(msg, make([]byte, rfbWidth*rfbHeight*v.pixel)...)
	for i := range msg[head:] {
		msg[head+i] = v.shade
	}
	v.waiting, v.shown = false, true
	_, err := v.out.Write(msg)
	return err
}
