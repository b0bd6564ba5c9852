package main

import (
	"fmt"
	"slices"
)

// counts is what came during one order, over all connections.
type counts struct {
	messages int64
	bytes    int64
	// Failures: the first one in words.
	failed string
	// From the first message on.
	started    int64
	startedCPU float64
	// Nanoseconds.
	latencies []uint32
}

// first notes that the order has begun to have effect.
func (c *counts) first(now int64) {
	c.started, c.startedCPU = now, cpuSeconds()
}

func (c *counts) fail(format string, arguments ...any) {
	if c.failed == "" {
		c.failed = fmt.Sprintf(format, arguments...)
	}
}

func (c *counts) took(nanoseconds int64) {
	c.latencies = append(c.latencies, uint32(min(max(nanoseconds, 0), 1<<32-1)))
}

// answer is what to say of it now.
func (c *counts) answer(now int64) answer {
	told := answer{
		Messages:   c.messages,
		Bytes:      c.bytes,
		Seconds:    float64(now-c.started) / 1e9,
		CPUSeconds: cpuSeconds() - c.startedCPU,
	}
	if count := len(c.latencies); count > 0 {
		slices.Sort(c.latencies)
		told.LatencyMS = map[string]float64{"max": float64(c.latencies[count-1]) / 1e6}
		for name, part := range map[string]int{"p50": 500, "p99": 990, "p999": 999} {
			told.LatencyMS[name] = float64(c.latencies[min(count-1, count*part/1000)]) / 1e6
		}
	}
	return told
}
