package broker

import "sync"

// Session is what leases live on where a broker ties them to a connection: an
// AMQP channel, a Kafka partition assignment. When it ends, every delivery that
// names it has lost its lease at once.
//
// The adapter creates it and ends it; the runtime watches Lost. All methods are
// safe for concurrent use.
type Session struct {
	name string
	lost chan struct{}
	once sync.Once
	err  error // written before lost is closed, read after
}

// NewSession returns a live session. The name appears in errors and logs
// ("channel 3", "orders/7 generation 12").
func NewSession(name string) *Session {
	return &Session{name: name, lost: make(chan struct{})}
}

// Name returns the name given to NewSession.
func (s *Session) Name() string { return s.name }

// Lost is closed when the session has ended.
func (s *Session) Lost() <-chan struct{} { return s.lost }

// End ends the session with a cause. The first call wins; later ones do nothing.
func (s *Session) End(cause error) {
	s.once.Do(func() {
		s.err = cause
		close(s.lost)
	})
}

// Cause returns why the session ended, nil while it lives.
func (s *Session) Cause() error {
	select {
	case <-s.lost:
		return s.err
	default:
		return nil
	}
}
