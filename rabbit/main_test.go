package rabbit

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/anyqueue/anyqueue/internal/faultlab"
)

func TestMain(m *testing.M) {
	if faultlab.RunChild(map[string]faultlab.Program{"worker": workerProgram}) {
		return
	}
	goleak.VerifyTestMain(m)
}
