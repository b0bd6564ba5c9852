package main

import "fmt"

// open makes more connections, so many at a time, until the server has answered the opening of each.
func (l *load) open(given order) (answer, error) {
	l.counts = counts{}
	l.counts.first(l.clock.now())
	waiting := 0
	deadline := l.deadline(given)
	for made := 0; made < given.Connections || waiting > 0; {
		for made < given.Connections && waiting < max(given.AtOnce, 1) {
			one, err := l.dial()
			if err != nil {
				return answer{}, err
			}
			l.connections = append(l.connections, one)
			made++
			if one.wasReady = one.speaker.ready(); !one.wasReady {
				waiting++
				one.onReady = func(*connection) { waiting-- }
			}
		}
		if err := l.wait(deadline, waiting == 0); err != nil {
			return answer{}, err
		}
	}
	return l.counts.answer(l.clock.now()), nil
}

// churn opens connections and closes each once the server has answered, so many at a time.
func (l *load) churn(given order) (answer, error) {
	l.counts = counts{}
	l.counts.first(l.clock.now())
	waiting := 0
	deadline := l.deadline(given)
	for made := 0; made < given.Connections || waiting > 0; {
		for made < given.Connections && waiting < max(given.AtOnce, 1) {
			one, err := l.dial()
			if err != nil {
				return answer{}, err
			}
			made++
			if one.speaker.ready() {
				one.close()
				continue
			}
			waiting++
			one.onReady = func(c *connection) {
				waiting--
				l.counts.messages++
				c.close()
			}
		}
		if err := l.wait(deadline, waiting == 0); err != nil {
			return answer{}, err
		}
	}
	return l.counts.answer(l.clock.now()), nil
}

func (l *load) deadline(given order) int64 {
	return l.clock.now() + int64(given.LimitSeconds*1e9)
}

// wait serves connections once. It fails with the first failure of the order, and after the deadline.
func (l *load) wait(deadline int64, atOnce bool) error {
	milliseconds := 50
	if atOnce {
		milliseconds = 0
	}
	l.poller.poll(milliseconds)
	if l.counts.failed != "" {
		return fmt.Errorf("%s", l.counts.failed)
	}
	if l.clock.now() > deadline {
		return fmt.Errorf("out of time: %d messages came", l.counts.messages)
	}
	return nil
}
