package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

const (
	binaryFrame = 0x82 // with FIN
	pingFrame   = 0x89
)

// websocket reads a server's frames (RFC 6455). Its own are masked with zeros, which changes nothing.
type websocket struct {
	connection *connection
	answered   bool
	// What came of the answer to the opening, of a frame's head, or of a ping.
	held []byte
	ping int
}

func (w *websocket) ready() bool { return w.answered }

func (w *websocket) hear(data []byte) error {
	for len(data) > 0 {
		var err error
		switch {
		case w.connection.missing > 0:
			data = w.connection.body(data)
		case !w.answered:
			data, err = w.hearAnswer(data)
		case w.ping > 0:
			data = w.hearPing(data)
		default:
			data, err = w.hearHead(data)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *websocket) hearAnswer(data []byte) ([]byte, error) {
	w.held = append(w.held, data...)
	head, rest, found := bytes.Cut(w.held, []byte("\r\n\r\n"))
	if !found {
		return nil, nil
	}
	if !bytes.HasPrefix(head, []byte("HTTP/1.1 101 ")) {
		return nil, fmt.Errorf("the server answered %q", head)
	}
	w.answered = true
	w.held = nil
	// An unasked pong (RFC 6455, 5.5.3): see greetingBytes.
	w.pong()
	return rest, nil
}

func (w *websocket) hearHead(data []byte) ([]byte, error) {
	for len(data) > 0 {
		w.held = append(w.held, data[0])
		data = data[1:]
		if len(w.held) < 2 {
			continue
		}
		size, whole := int(w.held[1]), 2
		switch size {
		case 126:
			whole = 4
		case 127:
			whole = 10
		}
		if len(w.held) < whole {
			continue
		}
		switch whole {
		case 4:
			size = int(binary.BigEndian.Uint16(w.held[2:]))
		case 10:
			size = int(binary.BigEndian.Uint64(w.held[2:]))
		}
		kind := w.held[0]
		w.held = w.held[:0]
		switch kind {
		case binaryFrame:
			return data, w.connection.begin(size)
		case pingFrame:
			w.ping = size
			if size == 0 {
				w.pong()
			}
			return data, nil
		}
		return nil, fmt.Errorf("a frame %#x of %d bytes came", kind, size)
	}
	return nil, nil
}

func (w *websocket) hearPing(data []byte) []byte {
	size := min(w.ping-len(w.held), len(data))
	w.held = append(w.held, data[:size]...)
	if len(w.held) == w.ping {
		w.pong()
	}
	return data[size:]
}

func (w *websocket) pong() {
	c := w.connection
	c.out = append(c.out, 0x8a, 0x80|byte(len(w.held)), 0, 0, 0, 0)
	c.out = append(c.out, w.held...)
	w.held = w.held[:0]
	w.ping = 0
}
