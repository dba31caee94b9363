-- OMOP CDM 5.3 and 5.4 as people, visits, conditions, drugs, procedures and labs. The tables omop_* are made by omop.py, with the
-- columns that both versions have under the names of 5.4. Concept numbers are those of the OHDSI vocabularies.
people as (
    select cast(p.person_id as varchar) as patient,
        case when p.year_of_birth is null then null else make_date(p.year_of_birth,
            greatest(1, least(12, coalesce(p.month_of_birth, 7))), greatest(1, least(28, coalesce(p.day_of_birth, 1)))) end as born,
        case p.gender_concept_id when 8507 then 'M' when 8532 then 'F' end as sex, d.died
    from omop_person p
    left join (select person_id, min(death_date) as died from omop_death group by person_id) d on d.person_id = p.person_id
),
visits as (
    select cast(person_id as varchar) as patient, cast(visit_occurrence_id as varchar) as visit,
        case when visit_concept_id in (9201, 262, 8717, 8971, 32037) then 'inpatient'
            when visit_concept_id in (9203, 8870, 581381) then 'emergency'
            when visit_concept_id in (42898160, 32036, 581458) then 'other' else 'outpatient' end as class,
        visit_start_date as began, visit_end_date as ended,
        case when visit_concept_id = 262 then 'emergency' end as urgency,
        case when visit_concept_id = 262 or admitted_from_concept_id in (9203, 8870) then 'emergency room'
            when admitted_from_concept_id in (9201, 8717, 8971, 8863, 8676, 8920) then 'transfer'
            when admitted_from_concept_id in (9202, 581477) then 'referral' end as origin,
        case when discharged_to_concept_id in (8536, 581476) then 'home' when discharged_to_concept_id = 38004519 then 'home care'
            when discharged_to_concept_id in (8863, 8676, 8615, 42898160) then 'nursing facility'
            when discharged_to_concept_id = 8920 then 'rehabilitation'
            when discharged_to_concept_id in (9201, 8717, 8971) then 'other hospital'
            when discharged_to_concept_id = 8546 then 'hospice' when discharged_to_concept_id = 4216643 then 'died' end as destination
    from omop_visit_occurrence where visit_start_date is not null
),
kinds (ancestor, nth, kind) as (
    values (316139, 1, 'heart failure'), (201820, 2, 'diabetes'), (443392, 3, 'neoplasm'), (440921, 4, 'injury'),
        (4171379, 5, 'genitourinary'), (4030518, 5, 'genitourinary'), (320136, 6, 'respiratory'), (4201745, 7, 'digestive'),
        (4302537, 7, 'digestive'), (134057, 8, 'other circulatory'), (4244662, 9, 'musculoskeletal')
),
nearest as (
    select a.descendant_concept_id as concept, min(k.nth) as nth from omop_concept_ancestor a
    join kinds k on k.ancestor = a.ancestor_concept_id group by a.descendant_concept_id
),
kinds_of as (
    select n.concept, min(k.kind) as kind from nearest n join kinds k on k.nth = n.nth group by n.concept
),
conditions as (
    select cast(o.person_id as varchar) as patient, cast(o.visit_occurrence_id as varchar) as visit, o.condition_start_date as day,
        case when coalesce(s.vocabulary_id, t.vocabulary_id) like 'ICD10%' then 'icd10'
            when coalesce(s.vocabulary_id, t.vocabulary_id) like 'ICD9%' then 'icd9'
            when t.vocabulary_id like 'SNOMED%' then 'snomed' end as system,
        coalesce(s.concept_code, t.concept_code, o.condition_source_value, cast(o.condition_concept_id as varchar)) as code,
        case when s.concept_code is null then k.kind end as kind,
        case when o.condition_status_concept_id in (32901, 32902, 32903)
            or o.condition_type_concept_id in (38000183, 38000184, 38000199, 38000200, 44786627) then 1 else 2 end as place
    from omop_condition_occurrence o
    left join omop_concept s on s.concept_id = o.condition_source_concept_id and (s.vocabulary_id like 'ICD10%' or s.vocabulary_id like 'ICD9%')
    left join omop_concept t on t.concept_id = o.condition_concept_id
    left join kinds_of k on k.concept = o.condition_concept_id
    where o.condition_start_date is not null
),
drugs as (
    select cast(person_id as varchar) as patient, cast(visit_occurrence_id as varchar) as visit, drug_exposure_start_date as day,
        cast(drug_concept_id as varchar) as drug
    from omop_drug_exposure
),
procedures as (
    select cast(person_id as varchar) as patient, cast(visit_occurrence_id as varchar) as visit, procedure_date as day
    from omop_procedure_occurrence
),
labs as (
    select cast(m.person_id as varchar) as patient, cast(m.visit_occurrence_id as varchar) as visit, m.measurement_date as day,
        coalesce(c.concept_code, case m.measurement_concept_id when 3004410 then '4548-4' end) as code, m.value_as_number as value
    from omop_measurement m left join omop_concept c on c.concept_id = m.measurement_concept_id and c.vocabulary_id = 'LOINC'
)
