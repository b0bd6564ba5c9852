package main

import (
	"syscall"
	"unsafe"
)

const clockMonotonic = 1

// timer is a file that can be read each time an interval is over: epoll itself knows milliseconds only.
type timer struct {
	file   int
	onTime func()
}

func newTimer(intervalNanoseconds int64) (*timer, error) {
	file, _, code := syscall.Syscall(syscall.SYS_TIMERFD_CREATE, clockMonotonic, syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if code != 0 {
		return nil, code
	}
	interval := syscall.NsecToTimespec(intervalNanoseconds)
	setting := [2]syscall.Timespec{interval, interval}
	if _, _, code := syscall.Syscall6(
		syscall.SYS_TIMERFD_SETTIME, file, 0, uintptr(unsafe.Pointer(&setting)), 0, 0, 0,
	); code != 0 {
		_ = syscall.Close(int(file))
		return nil, code
	}
	return &timer{file: int(file)}, nil
}

func (t *timer) readable() {
	var count [8]byte
	if _, err := syscall.Read(t.file, count[:]); err == nil {
		t.onTime()
	}
}

func (t *timer) close() { _ = syscall.Close(t.file) }
