package pricedata_test

import (
	"os"
	"strings"
	"testing"

	"aigateway/pricedata"
)

func TestParsePython(t *testing.T) {
	for _, tt := range []struct{ src, want string }{
		{"x = [1, 'a', \"b\", None, True, f(), f(1, a=2,), {'k': g(h.i)},]", ""},
		{"x: list[X] = []\n\n", ""},
		{"x = 'it\\'s \\x41\\u00e9\\U0001f600 \\\\ \\n'", ""},
		{"y = 1", "assigns nothing to x"},
		{"x\n= 1", "line 2: it assigns nothing to x"},
		{"x = ", "line 2: the file ends where a value is due"},
		{"x = [1", "line 2: a list of line 2 lacks a comma or ']'"},
		{"x = [1 2]", "lacks a comma"},
		{"x = f(\na=1,\na=2)", "line 4: a is given twice to f"},
		{"x = {'a' 1}", "lacks its colon"},
		{"x = {'a': 1", "a dict of line 2 lacks a comma"},
		{"x = 'abc", "line 2: a string lacks its closing quote"},
		{"x = 'a\nb'", "line 2: a string lacks its closing quote"},
		{"x = 'a\\", "a string ends in a backslash"},
		{"x = '\\q'", `the escape \q is not understood`},
		{"x = '\\xzz'", `the escape \x is not understood`},
		{"x = '\\u12'", `the escape \u is not understood`},
		{"x = '\\ud800'", `the escape \u is not understood`},
		{"x = 1 + 1", "'+' follows the value of x"},
		{"x = [lambda: 1]", "lacks a comma"},
		{"x = __import__('os').system('true')", "'.' follows the value of x"},
		{"x = []; y = 1", "';' follows the value of x"},
		{"x = -1", "'-' begins no value"},
		{"x = " + strings.Repeat("[", 70), "more than 64 levels of brackets"},
		{"x = " + strings.Repeat("f(", 1_000_000), "more than 64 levels of brackets"},
	} {
		err := pricedata.ParsePython([]byte("import y\n"+tt.src), "x")
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%.60q: got %v, want %q in it", tt.src, err, tt.want)
		}
	}
}

func TestMicro(t *testing.T) {
	for _, tt := range []struct {
		text string
		per  int64
		want int64 // -1: refused
	}{
		{"0", 1, 0},
		{"0.0375", 1, 37_500},
		{"0.1", 1, 100_000},
		{"0.0000001", 1, 1},         // rounded up
		{"2.0000001", 1, 2_000_001}, // never below
		{"1E-6", 1, 1},
		{"1e+3", 1, 1_000_000_000},
		{"10", 1000, 10_000},
		{"0.1", 3, 33_334},
		{"1000000", 1, 1_000_000_000_000},
		{"1000000.000001", 1, -1},
		{"1e99", 1, -1},
		{"1e999", 1, -1},
		{"-1", 1, -1},
		{"+1", 1, -1},
		{"NaN", 1, -1},
		{"Infinity", 1, -1},
		{"", 1, -1},
		{"1_000", 1, -1},
		{".5", 1, -1},
		{"0x10", 1, -1},
		{"1/3", 1, -1},
	} {
		got, err := pricedata.Micro(tt.text, tt.per)
		if err != nil {
			got = -1
		}
		if got != tt.want {
			t.Errorf("%s per %d: %d (%v), want %d", tt.text, tt.per, got, err, tt.want)
		}
	}
}

// FuzzGenAI: whatever a package holds, reading it ends, with an error or not.
func FuzzGenAI(f *testing.F) {
	seed, err := os.ReadFile("testdata/data.py")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add([]byte("\nproviders = [Provider(id='a', models=[ModelInfo(id='b', prices=[ConditionalPrice(prices=ModelPrice(input_mtok=Decimal('1')), constraint=TimeOfDateConstraint(start_time=datetime.time(1, 2, tzinfo=datetime.UTC), end_time=datetime.time(1, 3, tzinfo=datetime.UTC)))])])]"))
	f.Add([]byte("\nproviders = [Provider(id='\\u0041', models=[ModelInfo(id='b', prices=ModelPrice(input_mtok=TieredPrices(base=Decimal('1e-9'), tiers=[Tier(start=1, price=Decimal('2'))])))])]"))
	f.Fuzz(func(t *testing.T, src []byte) {
		models, malformed, err := pricedata.ReadGenAI(src)
		if err != nil && models > 0 || malformed > models {
			t.Errorf("%d models, %d malformed, %v", models, malformed, err)
		}
	})
}
