package failure

import "encoding/json"

const (
	maxTypeBytes  = 128
	maxTextBytes  = 16 << 10
	maxStackBytes = 12 << 10
)

// Encode writes the record as JSON.
func (r *Record) Encode() ([]byte, error) { return json.Marshal(r) }

// Decode reads what Encode wrote.
func Decode(b []byte) (*Record, error) {
	r := new(Record)
	if err := json.Unmarshal(b, r); err != nil {
		return nil, err
	}
	return r, nil
}
