"""Fallback models, timeouts of deployments, sharing by latency, and what workers say of their cooldowns."""

from __future__ import annotations

import django.core.validators
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("routing", "0004_groups"),
    ]

    operations = [
        migrations.AddField(
            model_name="deployment",
            name="connect_timeout",
            field=models.FloatField(
                blank=True,
                help_text="Until the connection stands.",
                null=True,
                validators=[
                    django.core.validators.MinValueValidator(0.01),
                    django.core.validators.MaxValueValidator(86400),
                ],
                verbose_name="connect",
            ),
        ),
        migrations.AddField(
            model_name="deployment",
            name="cooldown_resets",
            field=models.PositiveIntegerField(db_default=0, default=0, editable=False),
        ),
        migrations.AddField(
            model_name="deployment",
            name="first_token_timeout",
            field=models.FloatField(
                blank=True,
                help_text="Until a stream carries its first output.",
                null=True,
                validators=[
                    django.core.validators.MinValueValidator(0.01),
                    django.core.validators.MaxValueValidator(86400),
                ],
                verbose_name="first token",
            ),
        ),
        migrations.AddField(
            model_name="deployment",
            name="headers_timeout",
            field=models.FloatField(
                blank=True,
                help_text="Until a reply begins.",
                null=True,
                validators=[
                    django.core.validators.MinValueValidator(0.01),
                    django.core.validators.MaxValueValidator(86400),
                ],
                verbose_name="headers",
            ),
        ),
        migrations.AddField(
            model_name="deployment",
            name="idle_timeout",
            field=models.FloatField(
                blank=True,
                help_text="Longest silence within a stream.",
                null=True,
                validators=[
                    django.core.validators.MinValueValidator(0.01),
                    django.core.validators.MaxValueValidator(86400),
                ],
                verbose_name="idle",
            ),
        ),
        migrations.AddField(
            model_name="deployment",
            name="total_timeout",
            field=models.FloatField(
                blank=True,
                help_text="Whole reply, without streaming.",
                null=True,
                validators=[
                    django.core.validators.MinValueValidator(0.01),
                    django.core.validators.MaxValueValidator(86400),
                ],
                verbose_name="total",
            ),
        ),
        migrations.AddField(
            model_name="servedmodel",
            name="balancing",
            field=models.CharField(
                choices=[("weight", "by weight"), ("latency", "by weight and latency: the faster, the more")],
                db_default="weight",
                default="weight",
                help_text="How deployments of the same priority share the requests.",
                max_length=16,
                verbose_name="sharing",
            ),
        ),
        migrations.AddField(
            model_name="worker",
            name="cooldowns",
            field=models.JSONField(db_default=models.Value([], models.JSONField()), default=list),
        ),
        migrations.CreateModel(
            name="FallbackModel",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("position", models.PositiveSmallIntegerField(default=0, help_text="Lower goes first.")),
                (
                    "on_failure",
                    models.BooleanField(
                        default=True,
                        help_text="When every deployment of the model failed, or none can be asked.",
                    ),
                ),
                (
                    "on_context_overflow",
                    models.BooleanField(
                        default=True,
                        help_text="When the conversation does not fit the model's context.",
                        verbose_name="for long prompts",
                    ),
                ),
                (
                    "on_refusal",
                    models.BooleanField(
                        default=False, help_text="When the provider's content rules refuse the request."
                    ),
                ),
                (
                    "fallback",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="stands_in_for",
                        to="routing.servedmodel",
                        verbose_name="fallback model",
                    ),
                ),
                (
                    "model",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="fallbacks",
                        to="routing.servedmodel",
                    ),
                ),
            ],
            options={
                "verbose_name": "fallback",
                "ordering": ("position", "id"),
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(
                        fields=("model", "fallback"),
                        name="routing_fallbackmodel_unique",
                        violation_error_message="This model is in the list already.",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("model", models.F("fallback")), _negated=True),
                        name="routing_fallbackmodel_other",
                        violation_error_message="A model cannot stand in for itself.",
                    ),
                ],
            },
        ),
    ]
