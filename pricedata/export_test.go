package pricedata

import "time"

// ReadBytes is ReadWheel of a package in memory, with pins of one's own.
func ReadBytes(data []byte, date time.Time, pins ...Pin) (*Source, error) {
	return readWheel(data, date, pins)
}

// ParsePython reads a module's assignment and reports only whether it can.
func ParsePython(src []byte, name string) error {
	_, err := parsePython(src, name)
	return err
}

// ReadGenAI is the number of models in a data.py, and how many are malformed.
func ReadGenAI(src []byte) (models, malformed int, err error) {
	m, err := readGenAI(src)
	for _, list := range m {
		for _, x := range list {
			models++
			if x.problem != nil {
				malformed++
			}
		}
	}
	return models, malformed, err
}

// Micro is a decimal as millionths, rounded up.
func Micro(text string, per int64) (int64, error) { return micro(text, per) }
