package extauthz_test

import (
	"context"
	"fmt"
	"testing"

	"aigateway/extauthz"
)

// TestKeysWithoutBodiesAreForgotten: what is kept of a key ends with its last large
// body, whether that was decided, refused, or given up.
func TestKeysWithoutBodiesAreForgotten(t *testing.T) {
	enter, keys := extauthz.BodiesAndKeys(8 << 20)
	full, err := enter(t.Context(), "large", 4<<20)
	if err != nil {
		t.Fatal(err)
	}
	gone, stop := context.WithCancel(t.Context())
	stop()
	for i := range 5000 {
		ctx := t.Context()
		if i%3 == 0 {
			ctx = gone
		}
		if leave, err := enter(ctx, fmt.Sprint("key_", i), []int{1 << 20, 3 << 20, 9 << 20}[i%3]); err == nil {
			leave()
		}
	}
	if n := keys(); n != 1 {
		t.Errorf("%d keys are kept, of which one has a body", n)
	}
	full()
	if n := keys(); n != 0 {
		t.Errorf("%d keys are kept, none of which has a body", n)
	}
}
