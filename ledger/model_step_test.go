package ledger

import "fmt"

// modelStep is one thing that happens.
type modelStep struct {
	op  modelOp
	arg int8
}

type modelOp uint8

const (
	stepReserve modelOp = iota
	stepLog             // arg: call*modelBills + bill
	stepExpire
	stepPools
	stepEdit
	stepBegin // arg 1: gives back the unused mark
	stepCommit
	stepApply
	stepCrash
	stepKill
	stepEnd
	stepNext
	stepPrune // arg: call
	stepRetire
	stepDelete
	stepLeave // arg: call
	stepCount
	stepEnforce
)

func (s modelStep) String() string {
	switch s.op {
	case stepReserve:
		return "reserve"
	case stepLog:
		return fmt.Sprintf("log of call %d: cost %d", s.arg/modelBills+1, s.arg%modelBills-1)
	case stepExpire:
		return fmt.Sprintf("call %d expires", s.arg+1)
	case stepPools:
		return "the orphan pool's time is over"
	case stepEdit:
		return fmt.Sprintf("set the cap to %d", s.arg)
	case stepBegin:
		return [...]string{"sync begins", "sync begins, lowering the mark"}[s.arg]
	case stepCommit:
		return "sync is on disk"
	case stepApply:
		return "sync applies"
	case stepKill:
		return "only the process ends, recovery with the ring"
	case stepEnd:
		return "the window ended long ago"
	case stepNext:
		return "the next window is used"
	case stepPrune:
		return fmt.Sprintf("the row of call %d is deleted", s.arg+1)
	case stepRetire:
		return "memory lets the account go"
	case stepDelete:
		return "the account's row is deleted"
	case stepCount:
		return "the new budget counts"
	case stepEnforce:
		return "the new budget limits"
	case stepLeave:
		return fmt.Sprintf("call %d waits no more", s.arg+1)
	default:
		return "crash, recovery"
	}
}
