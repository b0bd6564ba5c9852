package main

import "syscall"

// reader is told when its file can be read.
type reader interface{ readable() }

// poller waits for many files. Those it tells may add and remove files.
type poller struct {
	epoll   int
	readers []reader // by file descriptor
	events  [512]syscall.EpollEvent
}

func newPoller() (*poller, error) {
	epoll, err := syscall.EpollCreate1(0)
	return &poller{epoll: epoll}, err
}

func (p *poller) add(file int, told reader) error {
	for len(p.readers) <= file {
		p.readers = append(p.readers, nil)
	}
	p.readers[file] = told
	event := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(file)}
	return syscall.EpollCtl(p.epoll, syscall.EPOLL_CTL_ADD, file, &event)
}

func (p *poller) remove(file int) {
	p.readers[file] = nil
	// It may be closed already, which removed it.
	_ = syscall.EpollCtl(p.epoll, syscall.EPOLL_CTL_DEL, file, nil)
}

// poll tells whoever can read, after waiting so many milliseconds at most; -1: until somebody can.
func (p *poller) poll(milliseconds int) {
	count, _ := syscall.EpollWait(p.epoll, p.events[:], milliseconds)
	for _, event := range p.events[:max(count, 0)] {
		if told := p.readers[event.Fd]; told != nil {
			told.readable()
		}
	}
}
