package apierror

import "bytes"

// retried is every number that opencode takes for a status worth another call,
// five times in some 80 s: it looks for these digits anywhere in an error's
// message and in its body, whatever its status is (session/retry.ts of 1.18.33,
// RETRYABLE_MESSAGE_PATTERNS). "$500.00" has one.
var retried = []string{"429", "500", "502", "503", "504", "524"}

// Retried is where in text, a string or bytes, such a number begins; -1: nowhere.
func Retried[T string | []byte](text T) int {
	for i := 0; i+3 <= len(text); i++ {
		for _, number := range retried {
			if text[i] == number[0] && string(text[i:i+3]) == number {
				return i
			}
		}
	}
	return -1
}

// quiet is a JSON text with the same values and without such numbers within its
// strings: their second digit, which is a 0 or a 2, is escaped.
func quiet(body []byte) []byte {
	if Retried(body) < 0 {
		return body
	}
	var out bytes.Buffer
	within := false
	for i := 0; i < len(body); i++ {
		switch {
		case body[i] == '\\' && within:
			out.WriteByte(body[i])
			i++
		case body[i] == '"':
			within = !within
		case within && Retried(body[i:min(i+3, len(body))]) == 0:
			out.WriteByte(body[i])
			out.WriteString(`\u003`)
			i++
		}
		out.WriteByte(body[i])
	}
	return out.Bytes()
}
