"""Made for tests, in the form of genai-prices; no price in it is anyone's."""

import datetime
from decimal import Decimal

from .types import *

__all__ = ('providers',)

providers: list[Provider] = [
    Provider(
        id='acme',
        name='Acme',
        api_pattern='https://api\\.acme\\.example',
        models=[
            ModelInfo(
                id='riser',
                match=ClauseOr(or_=[ClauseEquals(equals='riser'), ClauseStartsWith(starts_with='riser-')]),
                context_window=200000,
                prices=ModelPrice(
                    input_mtok=Decimal('1.5'), cache_read_mtok=Decimal('0.1000001'), output_mtok=Decimal('6'),
                    web_searches_kcount=Decimal('12'), storage_searches_kcount=Decimal('2.5'),
                ),
            ),
            ModelInfo(
                id='faller',
                match=ClauseEquals(equals='faller'),
                context_window=50000,
                prices=ModelPrice(input_mtok=Decimal('0.5'), output_mtok=Decimal('3')),
            ),
            ModelInfo(
                id='tiered',
                match=ClauseEquals(equals='tiered'),
                prices=ModelPrice(
                    input_mtok=TieredPrices(base=Decimal('1'), tiers=[Tier(start=1000, price=Decimal('2.5'))]),
                    output_mtok=TieredPrices(
                        base=Decimal('2'), tiers=[Tier(start=500, price=Decimal('5')), Tier(start=1000, price=Decimal('5'))]
                    ),
                ),
                price_variants=[
                    PriceVariant(when={'service_tier': 'default'}, prices=ModelPrice()),
                    PriceVariant(
                        when={'service_tier': 'priority'},
                        prices=ModelPrice(input_mtok=Decimal('3'), output_mtok=Decimal('7')),
                        constraint=StartDateConstraint(start_date=datetime.date(2026, 10, 12)),
                    ),
                    PriceVariant(when={'processing': 'batch'}, prices=ModelPrice(input_mtok=Decimal('0.5'))),
                ],
            ),
            ModelInfo(
                id='dated',
                match=ClauseOr(or_=[ClauseEquals(equals='dated-v1'), ClauseEquals(equals='dated-2')]),
                deprecated=True,
                prices=[
                    ConditionalPrice(prices=ModelPrice(input_mtok=Decimal('9'), output_mtok=Decimal('9'))),
                    ConditionalPrice(
                        constraint=StartDateConstraint(start_date=datetime.date(2026, 9, 10)),
                        prices=ModelPrice(input_mtok=Decimal('1'), output_mtok=Decimal('2')),
                    ),
                    ConditionalPrice(
                        constraint=StartDateConstraint(start_date=datetime.date(2027, 1, 1)),
                        prices=ModelPrice(input_mtok=Decimal('2'), output_mtok=Decimal('4')),
                    ),
                ],
            ),
            ModelInfo(
                id='peaky',
                match=ClauseEquals(equals='peaky'),
                prices=[
                    ConditionalPrice(prices=ModelPrice(input_mtok=Decimal('1'), output_mtok=Decimal('2'))),
                    ConditionalPrice(
                        constraint=TimeOfDateConstraint(
                            start_time=datetime.time(22, 30, tzinfo=datetime.UTC),
                            end_time=datetime.time(1, 0, tzinfo=datetime.timezone.utc),
                        ),
                        prices=ModelPrice(input_mtok=Decimal('1.5'), output_mtok=Decimal('4')),
                    ),
                ],
            ),
            ModelInfo(id='bare', match=ClauseEquals(equals='bare'), context_window=None, prices=ModelPrice()),
            ModelInfo(
                id='odd',
                match=ClauseEquals(equals='odd'),
                prices=ModelPrice(input_mtok=Decimal('1'), output_mtok=Decimal('2'), requests_kcount=Decimal('5')),
            ),
            ModelInfo(
                id='painter',
                match=ClauseEquals(equals='painter'),
                prices=ModelPrice(input_mtok=Decimal('1'), output_mtok=Decimal('2'), output_image_mtok=Decimal('30')),
            ),
            ModelInfo(
                id='thinker',
                match=ClauseEquals(equals='thinker'),
                name="Acme's \"thinker\"\u00ae",
                prices=ModelPrice(
                    input_mtok=Decimal('1'), output_mtok=Decimal('2'), output_reasoning_mtok=Decimal('2'),
                    input_video_mtok=Decimal('99'), input_audio_mtok=Decimal('3'), cache_audio_read_mtok=Decimal('1'),
                    cache_read_mtok=Decimal('1'),
                ),
            ),
            ModelInfo(
                id='sinking',
                match=ClauseEquals(equals='sinking'),
                prices=ModelPrice(
                    input_mtok=TieredPrices(base=Decimal('2'), tiers=[Tier(start=1000, price=Decimal('1'))]),
                    output_mtok=Decimal('2'),
                ),
            ),
            ModelInfo(
                id='broken', match=ClauseEquals(equals='broken'), prices=ModelPrice(input_mtok=Decimal('-1'), output_mtok=Decimal('2'))
            ),
        ],
    ),
]
