package memory

import (
	"slices"

	"github.com/anyqueue/anyqueue/broker"
)

// Copies of messages are cut from slabs, one allocation for many messages. A
// message that lives long keeps its slab alive, so slabs are small, and what is
// large has memory of its own.
const (
	slabMessages = 62       // entries, messages and leases per slab: just below powers of two in bytes
	slabBytes    = 16 << 10 // bytes of bodies per slab
	ownBytes     = slabBytes / 4
	slabHeaders  = 256
)

// slab copies bodies and headers. needBytes and needHeaders are how much is
// still to be copied, so that a small batch gets a small slab.
type slab struct {
	bytes       []byte
	headers     []broker.Header
	needBytes   int
	needHeaders int
}

// plan counts m among what will be copied.
func (s *slab) plan(m *broker.Message) {
	if len(m.Body) <= ownBytes {
		s.needBytes += len(m.Body)
	}
	s.needHeaders += len(m.Headers)
}

// own gives m a body and headers that it shares with nobody. The copies have no
// spare capacity: appending to one never reaches its neighbour.
func (s *slab) own(m *broker.Message) {
	switch n := len(m.Body); {
	case m.Body == nil:
	case n == 0:
		m.Body = []byte{} // empty and missing are told apart
	case n > ownBytes:
		body := make([]byte, n)
		copy(body, m.Body)
		m.Body = body
	default:
		if len(s.bytes) < n {
			s.bytes = make([]byte, max(n, min(s.needBytes, slabBytes)))
		}
		body := s.bytes[:n:n]
		s.bytes = s.bytes[n:]
		s.needBytes -= n
		copy(body, m.Body)
		m.Body = body
	}
	m.Headers = slices.Clip(m.Headers) // an empty one could have the publisher's capacity
	if n := len(m.Headers); n > 0 {
		if len(s.headers) < n {
			s.headers = make([]broker.Header, max(n, min(s.needHeaders, slabHeaders)))
		}
		headers := s.headers[:n:n]
		s.headers = s.headers[n:]
		s.needHeaders -= n
		copy(headers, m.Headers)
		m.Headers = headers
	}
}
