package abacus

import (
	"errors"
	"testing"
)

func TestAdd(t *testing.T) {
	if got, err := Add("plain", 2, []int64{1, 2, 3}); got != 5 || err != nil {
		t.Errorf("got %d, %v", got, err)
	}
	if _, err := Add("plain", 0, []int64{-1}); !errors.Is(err, ErrNegative) {
		t.Error(err)
	}
	if _, err := Add("other", 0, nil); err == nil {
		t.Error("another kind")
	}
}

func TestForever(t *testing.T) {
	if got := Forever(3); got != 3 {
		t.Errorf("got %d", got)
	}
}

func TestHalvings(t *testing.T) {
	if got := [4]int{Halvings, halve(1), halve(2), halve(4)}; got != [4]int{2, 0, 1, 2} {
		t.Errorf("got %d", got)
	}
}
