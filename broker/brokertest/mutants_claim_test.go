package brokertest

import (
	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/memory"
)

// claimMutants say of themselves what is not so.
func claimMutants() []mutant {
	return []mutant{
		{
			name:   "does not say which broker it is",
			fails:  []string{"capabilities/CapabilitiesNameTheBroker"},
			tamper: claims(func(c *broker.Capabilities) { c.System = "" }),
		},
		{
			name:   "takes no extensions and says that it extends",
			fails:  []string{"capabilities/CapabilitiesAreWithinTheirBounds"},
			tamper: claims(func(c *broker.Capabilities) { c.MaxExtend = 0 }),
		},
		{
			name:   "claims to order keys that it does not carry",
			fails:  []string{"capabilities/CapabilitiesDoNotContradictEachOther"},
			tamper: claims(func(c *broker.Capabilities) { c.Keys = false }),
		},
		{
			name:   "claims to carry attempts",
			fails:  []string{"retry/TheNextAttemptIsTheOneAskedFor", "batch/ABatchOfMixedSettlementsIsCarriedOutWhole"},
			with:   memoryOptions{without: memory.Without{Attempts: true}},
			tamper: claims(func(c *broker.Capabilities) { c.CarriesAttempts, c.ReleaseIsFree = true, true }),
		},
		{
			name:   "claims that attempts count deliveries",
			fails:  []string{"retry/AttemptCountsDeliveriesWhereItCannotBeCarried"},
			tamper: claims(func(c *broker.Capabilities) { c.CarriesAttempts = false }),
		},
		{
			name:   "claims to carry failure records",
			fails:  []string{"retry/TheFailureRecordReachesTheNextAttempt", "release/AReleaseKeepsTheFailureRecord"},
			with:   memoryOptions{without: memory.Without{Failure: true}},
			tamper: claims(func(c *broker.Capabilities) { c.CarriesFailure = true }),
		},
		{
			name:   "never counts abandoned deliveries",
			fails:  []string{"abandoned/AMessageWhoseLeaseRanOutCountsAsAbandoned", "abandoned/AMessageWhoseConsumerWasKilledCountsAsAbandoned"},
			with:   memoryOptions{without: memory.Without{Abandoned: true}},
			tamper: claims(func(c *broker.Capabilities) { c.CountsAbandoned = true }),
		},
		{
			name:   "spends an attempt with a release",
			fails:  []string{"release/AReleaseSpendsNoAttempt"},
			with:   memoryOptions{without: memory.Without{FreeRelease: true}},
			tamper: claims(func(c *broker.Capabilities) { c.ReleaseIsFree = true }),
		},
	}
}
