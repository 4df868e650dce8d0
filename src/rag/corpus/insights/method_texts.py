"""What do the methods, tests and verdicts of the causal engine mean?"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from src.contracts.enums import EstimatorName as E

ESTIMATORS: Mapping[E, str] = MappingProxyType(
    {
        E.DIFFERENCE_IN_MEANS: "compares the mean outcome of treated and untreated units. It is an effect only where"
        " treatment was randomised. The standard error is robust to unequal variances.",
        E.OLS: "is a linear regression of the outcome on treatment and confounders. It assumes that the confounders"
        " named are all there are and that their influence is linear. Standard errors are heteroscedasticity-robust"
        " (HC3), on panels clustered by unit.",
        E.LIN: "is a linear regression with the treatment interacted with centred covariates (Lin 2013). In a"
        " randomised experiment it is at least as precise as the difference in means, without assuming a linear model.",
        E.IPW: "weights each unit by the inverse of its probability of the treatment it had. It assumes that all"
        " confounders are measured and that every unit could have been treated or not (overlap).",
        E.AIPW: "combines a model of the outcome with a model of the treatment, both cross-fitted (augmented inverse"
        " probability weighting). It is doubly robust: right if either model is.",
        E.S_LEARNER: "fits one model of the outcome with the treatment among its inputs and compares its predictions"
        " with and without treatment. It tends to shrink effects towards zero.",
        E.T_LEARNER: "fits one model of the outcome per treatment arm and takes the difference of their predictions."
        " It suits arms of similar size.",
        E.X_LEARNER: "imputes each unit's effect from the other arm's model and averages both with the propensity as"
        " weight (Künzel et al. 2019). It suits arms of very different size.",
        E.DR_LEARNER: "regresses doubly robust pseudo-outcomes on the effect modifiers (Kennedy 2023) and so describes"
        " how the effect differs between segments.",
        E.LINEAR_DML: "removes from outcome and treatment what confounders predict, by cross-fitted learners, and"
        " regresses the remainders on each other (double machine learning, Chernozhukov et al. 2018).",
        E.CAUSAL_FOREST: "is an ensemble of trees split where the effect differs, with honest estimation (Athey, Wager"
        " 2019). It is used to find segments with different effects.",
        E.IV_2SLS: "is two-stage least squares with an instrument: a cause of treatment that reaches the outcome by no"
        " other way. It estimates the effect among those whom the instrument moves and refuses an instrument with a"
        " first-stage F below 10.",
        E.TWFE: "is a panel regression with a fixed effect for each unit and each period. It removes what is constant"
        " within a unit and common to a period, and assumes parallel trends otherwise.",
        E.DID: "compares the change among treated units with that among units not treated yet (difference in"
        " differences). It assumes parallel trends without treatment.",
        E.LAGGED_OUTCOME: "adjusts for the outcome before treatment instead of unit effects. It suits treatment that"
        " follows earlier outcomes.",
        E.DISTRIBUTED_LAG: "is a panel regression on treatment now and in earlier periods. It shows how many periods"
        " pass until an effect appears. Standard errors are clustered by unit.",
        E.FRONT_DOOR: "identifies the effect through a measured mediator that carries all of it (Pearl's front-door"
        " criterion), although treatment and outcome share an unmeasured cause.",
        E.TMLE: "is a doubly robust estimate like aipw, whose outcome model is corrected along the propensity until"
        " nothing of the effect is left over (targeted maximum likelihood). It answers for the units in the data.",
        E.ANDERSON_RUBIN: "is the set of effects that the instrument does not contradict (Anderson, Rubin 1949). It"
        " holds however weak the instrument is; where the set is unbounded or in pieces no number is reported.",
        E.RDD: "is a sharp regression discontinuity: the jump of the outcome where a running variable reaches its"
        " cutoff and treatment switches for everybody, by local linear fits with the bias-corrected interval of"
        " Calonico, Cattaneo and Titiunik (2014). It holds for units at the cutoff.",
        E.FUZZY_RDD: "is a regression discontinuity where treatment only becomes more likely at the cutoff: the jump"
        " of the outcome over that of the treatment, for units at the cutoff whose treatment it decides.",
        E.IMPUTATION: "fits what units would have had without adopting from the rows not yet treated and averages what"
        " adopters had beyond it (Borusyak, Jaravel, Spiess 2024). It suits adoption at different dates and assumes"
        " parallel trends.",
        E.SYNTHETIC_DID: "compares few adopters with a weighted average of never-treated units that moved like them"
        " before, and periods after with weighted periods before (Arkhangelsky et al. 2021). Errors come from placebo"
        " adopters.",
        E.EXACT: "is Fisher's randomisation inference for small randomised trials: how often the assignments that might"
        " have been drawn would show so large a difference. The interval inverts that test.",
        E.DOSE_RESPONSE: "follows the mean outcome along a treatment that is a quantity, by doubly robust local"
        " regression (Kennedy et al. 2017). Its number is the average slope; the curve shows where it bends.",
    }
)

TESTS: Mapping[str, str] = MappingProxyType(
    {
        "placebo_treatment": "permutes the treatment among the units and estimates again. There is no effect of a"
        " permuted treatment, so an estimator that finds one fails. A failed placebo blocks the answer.",
        "random_common_cause": "adds a random column to the confounders and estimates again. The estimate must hardly"
        " move.",
        "data_subset": "estimates again on random parts of the data. Most estimates have to lie in the original"
        " interval.",
        "bootstrap": "estimates again on resampled data and compares the width of that interval with the reported one.",
        "sensitivity_e_value": "asks how strong an unmeasured confounder would have to be to explain the estimate"
        " away. The E-value of the interval's limit must be at least 2. It does not apply when the interval covers 0.",
        "negative_control_outcome": "estimates the effect on an outcome that the treatment cannot have. An effect"
        " there means that something is confounded.",
        "placebo_cutoffs": "looks for jumps of the outcome at other values of the running variable, where nothing"
        " changes. A jump there means that the curve is taken for an effect.",
        "covariate_continuity": "looks for jumps of covariates at the cutoff. What was settled before must not jump"
        " there.",
        "density_continuity": "compares how many units lie just left and right of the cutoff. A heap on one side means"
        " that units chose their side.",
        "bandwidth": "repeats the fit at the cutoff over narrower and wider neighbourhoods. The effect must hardly"
        " move.",
        "donut": "leaves out the units nearest to the cutoff, who may have been moved across it, and fits again.",
    }
)

CONCEPTS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "verdicts": (
            "The five verdicts of a causal answer",
            "Causal effect supported: the effect is identified under stated assumptions and survived the refutation"
            " tests. Association only: treatment and outcome move together, but these data do not show that one"
            " brings about the other. No detectable effect: an effect of a size that matters would have been seen and"
            " was not. Underpowered: the data are too few to tell, which is neither a yes nor a no. Not identified:"
            " the assumptions given do not allow an effect to be worked out, and none is reported.",
        ),
        "gate": (
            "The refutation gate: proceed, review, block, no effect",
            "Each refutation test estimates again with the same estimator on the same rows. The score is the weight"
            " of the tests passed over the weight of those that apply: 0.70 and more is proceed, 0.50 to 0.70 review,"
            " less is block. A failed placebo blocks, another failed critical test caps at review, two of them block."
            " An interval that covers 0 is no effect detected. Passing is no evidence that no confounder was left"
            " out: no re-estimation sees an omitted cause.",
        ),
        "e-value": (
            "E-value",
            "The E-value (VanderWeele, Ding 2017) is how strongly, as a risk ratio, an unmeasured confounder would"
            " have to be associated with both treatment and outcome to explain the estimate away. It is 1 when the"
            " interval covers no effect.",
        ),
        "robustness-value": (
            "Robustness value",
            "The robustness value (Cinelli, Hazlett 2020) is the share of the remaining variation of treatment and of"
            " outcome that an unmeasured confounder would have to explain to bring the estimate to zero. It is"
            " compared with the strongest measured confounder.",
        ),
        "average-treatment-effect": (
            "Average treatment effect (ATE), ATT, LATE and CATE",
            "The ATE is the mean difference that treatment makes over all units; the ATT that among treated units; the"
            " LATE that among the units whom an instrument moves; a CATE that within a segment.",
        ),
    }
)
