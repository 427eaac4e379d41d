package ledger

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"aigateway/budget"
)

type Config struct {
	Dir            string
	Now            func() time.Time
	HoldTimeout    time.Duration
	JournalWait    time.Duration
	Retention      time.Duration
	MetricBudgets  int
	AcceptRollback bool
	Log            *slog.Logger
	Metrics        prometheus.Registerer
}

var errUnwritten = errors.New("being written")

type Ledger struct{}

func Open(ctx context.Context, c Config) (*Ledger, error)         { return nil, errUnwritten }
func (l *Ledger) Close(ctx context.Context) error                 { return errUnwritten }
func (l *Ledger) Err() <-chan struct{}                            { return nil }
func (l *Ledger) Failed() error                                   { return errUnwritten }
func (l *Ledger) Ready() error                                    { return errUnwritten }
func (l *Ledger) TokenKey() []byte                                { return nil }
func (l *Ledger) InstanceID() string                              { return "" }
func (l *Ledger) Authenticate(secret string) (*budget.Key, error) { return nil, errUnwritten }
func (l *Ledger) Reserve(ctx context.Context, r budget.Request) (budget.Reservation, error) {
	return budget.Reservation{}, errUnwritten
}
func (l *Ledger) Settle(ctx context.Context, s budget.Settlement) error { return errUnwritten }
func (l *Ledger) SettleSpool(ctx context.Context, s []budget.Settlement, p budget.SpoolPosition) error {
	return errUnwritten
}
func (l *Ledger) SpoolPosition() budget.SpoolPosition                 { return budget.SpoolPosition{} }
func (l *Ledger) IsOpen(id budget.ReservationID) bool                 { return true }
func (l *Ledger) Heartbeat(id budget.ReservationID, requestID string) {}
func (l *Ledger) OpenReservations(limit int) []budget.Open            { return nil }
func (l *Ledger) SetBudget(ctx context.Context, b budget.Budget, actor string) (budget.Status, error) {
	return budget.Status{}, errUnwritten
}
func (l *Ledger) UpdateBudget(ctx context.Context, id, etag string, change func(*budget.Budget) error, actor string) (budget.Status, error) {
	return budget.Status{}, errUnwritten
}
func (l *Ledger) GetBudget(id string) (budget.Status, error) { return budget.Status{}, errUnwritten }
func (l *Ledger) ListBudgets(after string, limit int) ([]budget.Status, error) {
	return nil, errUnwritten
}
func (l *Ledger) DeleteBudget(ctx context.Context, id, etag, actor string) error { return errUnwritten }
func (l *Ledger) CreateKey(ctx context.Context, k budget.Key, actor string) (key budget.Key, secret string, err error) {
	return budget.Key{}, "", errUnwritten
}
func (l *Ledger) GetKey(id string) (budget.Key, error)                   { return budget.Key{}, errUnwritten }
func (l *Ledger) ListKeys(after string, limit int) ([]budget.Key, error) { return nil, errUnwritten }
func (l *Ledger) DeleteKey(ctx context.Context, id, actor string) error  { return errUnwritten }
func (l *Ledger) UsageByTag(ctx context.Context, w budget.Window, tag budget.Tag) ([]budget.UsageRow, error) {
	return nil, errUnwritten
}
func (l *Ledger) Usage(ctx context.Context, q budget.UsageQuery) ([]budget.UsageRow, error) {
	return nil, errUnwritten
}
