package main

import (
	"fmt"

	"github.com/anyqueue/anyqueue/middleware"
)

// requestType is the type of every message in this program; schemaVersion is
// the newest version of it that this program understands.
const (
	requestType   = "refund.requested"
	schemaVersion = 2
)

// price is what every order costs, and so what there is to refund.
const price = 200

// request asks for the refund of one order: version 2 of the schema.
type request struct {
	Order     string `json:"order"`
	Requester string `json:"requester"` // "customer", "seller" or "loyalty"
	Amount    int    `json:"amount"`
	// PointsPer is new in version 2: the loyalty scheme gave a point for so much.
	PointsPer int `json:"points_per"`
}

// requestV1 is version 1 of the schema, which old publishers still send.
type requestV1 struct {
	Order     string `json:"order"`
	Requester string `json:"requester"`
	Amount    int    `json:"amount"`
}

// pointsPerV1 is what held for everybody when version 1 was written.
const pointsPerV1 = 10

// schemas is what the handler's messages may look like. It sees version 2 only.
func schemas() []middleware.Schema {
	v1 := middleware.JSONSchema[requestV1](requestType, 1)
	v1.Upcast = middleware.Upcast(func(old requestV1) (request, error) {
		return request{Order: old.Order, Requester: old.Requester, Amount: old.Amount, PointsPer: pointsPerV1}, nil
	})
	return []middleware.Schema{v1, middleware.JSONSchema[request](requestType, schemaVersion)}
}

// decode does what the middleware will do with a body, to foresee what must
// become of a message.
func decode(version int, body []byte) (request, error) {
	for _, s := range schemas() {
		if s.Version != version {
			continue
		}
		v, err := s.Decode(body)
		if err == nil && s.Upcast != nil {
			v, err = s.Upcast(v)
		}
		r, _ := v.(request)
		return r, err
	}
	return request{}, fmt.Errorf("schema version %d is unknown", version)
}

// requesters are the three that ask for the refund of an order.
var requesters = [...]string{"customer", "seller", "loyalty"}

// check says what is wrong with a request that could be decoded. It has the bug
// that one request of the job brings to light: nobody thought of a PointsPer of 0.
func (r request) check() error {
	switch {
	case r.Order == "":
		return fmt.Errorf("the request of %q names no order", r.Requester)
	case r.Amount != price:
		return fmt.Errorf("order %s cost %d, and the request of %q is for %d", r.Order, price, r.Requester, r.Amount)
	case r.Requester == "loyalty" && r.Amount/r.PointsPer < 1:
		return fmt.Errorf("order %s earned no points, so that the loyalty scheme has nothing to ask for", r.Order)
	}
	return nil
}
