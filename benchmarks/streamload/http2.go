package main

import (
	"encoding/binary"
	"fmt"
)

const (
	headBytes   = 9
	prefixBytes = 5
	firstWindow = 65_535

	dataFrame         = 0
	headersFrame      = 1
	rstStreamFrame    = 3
	settingsFrame     = 4
	pingFrameH2       = 6
	goAwayFrame       = 7
	windowUpdateFrame = 8

	endStream         = 1
	ack               = 1
	padded            = 8
	initialWindowSize = 4
)

// http2 reads a server's frames (RFC 9113) and the gRPC messages in them. Header blocks are not decoded.
type http2 struct {
	connection *connection
	settled    bool
	head       [headBytes]byte
	headCount  int
	// The present frame: what is missing of its payload, and the payload of a small one.
	left   int
	kind   byte
	flags  byte
	stream uint32
	held   []byte
	// The prefix of the message that comes.
	prefix      [prefixBytes]byte
	prefixCount int
	// What the server lets us send: on the connection, and on stream 1, which echo uses.
	window       int
	streamWindow int
	firstStream  int
	// What waits for a window.
	blocked []byte
	// Calls in flight: bytes of body that came (unary); nil where there is one stream for everything.
	calls    map[uint32]int
	onAnswer func(*connection, int)
	nextID   uint32
}

func newHTTP2(connection *connection) *http2 {
	return &http2{
		connection: connection, window: firstWindow, streamWindow: firstWindow, firstStream: firstWindow,
		nextID: connection.load.firstCall,
	}
}

func (h *http2) ready() bool { return h.settled }

func (h *http2) hear(data []byte) error {
	for len(data) > 0 {
		if h.headCount < headBytes {
			size := copy(h.head[h.headCount:], data)
			h.headCount += size
			data = data[size:]
			if h.headCount < headBytes {
				return nil
			}
			h.left = int(h.head[0])<<16 | int(h.head[1])<<8 | int(h.head[2])
			h.kind, h.flags = h.head[3], h.head[4]
			h.stream = binary.BigEndian.Uint32(h.head[5:]) & 0x7fffffff
			h.held = h.held[:0]
			if h.kind == dataFrame && h.flags&padded != 0 {
				return fmt.Errorf("padded frames are not counted")
			}
		}
		part := data[:min(h.left, len(data))]
		data = data[len(part):]
		h.left -= len(part)
		switch h.kind {
		case dataFrame:
			if err := h.hearData(part); err != nil {
				return err
			}
		case settingsFrame, pingFrameH2, windowUpdateFrame, goAwayFrame, rstStreamFrame:
			h.held = append(h.held, part...)
		}
		if h.left == 0 {
			h.headCount = 0
			if err := h.hearEnd(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (h *http2) hearData(part []byte) error {
	if h.calls != nil {
		if got, open := h.calls[h.stream]; open {
			h.calls[h.stream] = got + len(part)
		}
		h.connection.load.counts.bytes += int64(len(part))
		return nil
	}
	for len(part) > 0 {
		if h.connection.missing == 0 {
			size := copy(h.prefix[h.prefixCount:], part)
			h.prefixCount += size
			part = part[size:]
			if h.prefixCount < prefixBytes {
				return nil
			}
			h.prefixCount = 0
			if h.prefix[0] != 0 {
				return fmt.Errorf("a compressed message came")
			}
			if err := h.connection.begin(int(binary.BigEndian.Uint32(h.prefix[1:]))); err != nil {
				return err
			}
		}
		part = h.connection.body(part)
	}
	return nil
}

// hearEnd deals with a frame that has come whole.
func (h *http2) hearEnd() error {
	c := h.connection
	switch h.kind {
	case settingsFrame:
		if h.flags&ack == 0 {
			h.hearSettings()
			c.out = append(c.out, 0, 0, 0, settingsFrame, ack, 0, 0, 0, 0)
			h.settled = true
			return h.unblock()
		}
	case pingFrameH2:
		if h.flags&ack == 0 {
			c.out = append(c.out, 0, 0, 8, pingFrameH2, ack, 0, 0, 0, 0)
			c.out = append(c.out, h.held...)
		}
	case windowUpdateFrame:
		increment := int(binary.BigEndian.Uint32(h.held))
		if h.stream == 0 {
			h.window += increment
		} else if h.calls == nil {
			h.streamWindow += increment
		}
		return h.unblock()
	case goAwayFrame:
		return fmt.Errorf("the server said GOAWAY: %q", h.held[min(8, len(h.held)):])
	case rstStreamFrame:
		// Of a call that was answered it means nothing.
		if _, open := h.calls[h.stream]; open || h.calls == nil {
			return fmt.Errorf("the server reset stream %d: %x", h.stream, h.held)
		}
	case headersFrame, dataFrame:
		if h.flags&endStream == 0 {
			return nil
		}
		if h.calls == nil {
			return fmt.Errorf("the server ended stream %d", h.stream)
		}
		got, open := h.calls[h.stream]
		if !open {
			return fmt.Errorf("stream %d was answered twice", h.stream)
		}
		delete(h.calls, h.stream)
		h.onAnswer(c, got)
	}
	return nil
}

func (h *http2) hearSettings() {
	for at := 0; at+6 <= len(h.held); at += 6 {
		if binary.BigEndian.Uint16(h.held[at:]) == initialWindowSize {
			size := int(binary.BigEndian.Uint32(h.held[at+2:]))
			h.streamWindow += size - h.firstStream
			h.firstStream = size
		}
	}
}

// send writes frames of which so many bytes are DATA, now or when the windows allow it.
func (h *http2) send(frames []byte, dataBytes int) {
	if len(h.blocked) == 0 && h.allows(dataBytes) {
		h.connection.out = append(h.connection.out, frames...)
		return
	}
	h.blocked = append(h.blocked, frames...)
}

func (h *http2) allows(dataBytes int) bool {
	if h.window < dataBytes || h.calls == nil && h.streamWindow < dataBytes {
		return false
	}
	h.window -= dataBytes
	h.streamWindow -= dataBytes
	return true
}

// unblock sends what waited for a window, frame by frame.
func (h *http2) unblock() error {
	for len(h.blocked) > 0 {
		size := int(h.blocked[0])<<16 | int(h.blocked[1])<<8 | int(h.blocked[2])
		if h.blocked[3] == dataFrame && !h.allows(size) {
			return nil
		}
		h.connection.out = append(h.connection.out, h.blocked[:headBytes+size]...)
		h.blocked = h.blocked[headBytes+size:]
	}
	return nil
}

// call starts one with the next number: all frames of the message are of that stream.
func (h *http2) call(message []byte) {
	id := h.nextID
	h.nextID += 2
	h.calls[id] = 0
	dataBytes := 0
	for at := 0; at < len(message); {
		size := int(message[at])<<16 | int(message[at+1])<<8 | int(message[at+2])
		binary.BigEndian.PutUint32(message[at+5:], id)
		if message[at+3] == dataFrame {
			dataBytes += size
		}
		at += headBytes + size
	}
	h.send(message, dataBytes)
}
